// Wake files, turn files and wakers of the simulated processes.
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "platform/seam.hpp"
#include "sim.hpp"

namespace dbos::sim::files {

namespace {

struct SideFile {
    std::uint64_t size = 0;
};
/// What a WakeFile has of the world; the world lets go of it when the process dies.
struct Watch {
    int process = -1;
    std::string path;
    std::uint32_t object = 0;
    bool log_pending = false;
};
struct TurnQueue {
    std::vector<const void*> holders;  // the first one has the turn
    std::vector<int> processes;
    std::uint32_t object = 0;
};
struct Files {
    std::map<std::string, SideFile> side;
    std::vector<std::shared_ptr<Watch>> watches;
    std::map<std::string, TurnQueue> turns;
};
Files& all() {
    static Files files;
    return files;
}

void leave(TurnQueue& queue, const void* who) noexcept {
    for (std::size_t i = 0; i < queue.holders.size(); ++i) {
        if (queue.holders[i] != who) continue;
        queue.holders.erase(queue.holders.begin() + static_cast<std::ptrdiff_t>(i));
        queue.processes.erase(queue.processes.begin() + static_cast<std::ptrdiff_t>(i));
        break;
    }
    sim::wake(queue.object, true);
}

}  // namespace

void reset() noexcept { all() = Files(); }

void drop(int process) noexcept {
    std::erase_if(all().watches, [&](const auto& watch) { return watch->process == process; });
    for (auto& [path, queue] : all().turns) {
        for (std::size_t i = queue.holders.size(); i-- > 0;) {
            if (queue.processes[i] == process) leave(queue, queue.holders[i]);
        }
    }
}

bool watches(int process) noexcept {
    return std::ranges::any_of(all().watches,
                               [process](const auto& watch) { return watch->process == process; });
}

bool in_turn(int process) noexcept {
    for (const auto& [path, queue] : all().turns) {
        if (std::find(queue.processes.begin(), queue.processes.end(), process) != queue.processes.end())
            return true;
    }
    return false;
}

void written(const std::string& path) noexcept {
    for (const auto& watch : all().watches) {
        if (path != watch->path && path != watch->path + "-wal") continue;
        watch->log_pending = true;
        sim::wake(watch->object, true);
    }
}

}  // namespace dbos::sim::files

namespace dbos::seam {

using sim::files::all;

Waker::Waker() : event_fd_(static_cast<int>(sim::new_object()) << 1) {}
Waker::~Waker() = default;
void Waker::wake() noexcept {
    const sim::Unseen unseen;
    event_fd_ |= 1;
    sim::wake(static_cast<std::uint32_t>(event_fd_ >> 1), true);
    sim::point('e', static_cast<std::uint32_t>(event_fd_ >> 1));
}
Waker::Why Waker::wait(int, bool, Duration timeout) {
    const sim::Unseen unseen;
    const auto object = static_cast<std::uint32_t>(event_fd_ >> 1);
    const sim::Nanos end = timeout == Duration::max() ? sim::kNever : sim::steady_ns() + timeout.count();
    sim::point('E', object);
    while ((event_fd_ & 1) == 0) {
        if (sim::steady_ns() >= end) return Why::timeout;
        sim::block('E', object, end);
    }
    event_fd_ &= ~1;
    return Why::woken;
}

struct WakeFile::Impl {
    std::shared_ptr<sim::files::Watch> watch = std::make_shared<sim::files::Watch>();
    bool has_file = true;
    std::uint64_t seen = 0;
    std::uint64_t own = 0;
    bool woken = false;
    SteadyTime log_reported{};
};

WakeFile::WakeFile(std::string database) : impl_(std::make_unique<Impl>()) {
    const sim::Unseen unseen;
    Impl& impl = *impl_;
    impl.has_file = !database.empty() && database != ":memory:";
    impl.watch->process = sim::current_process();
    impl.watch->path = std::move(database);
    impl.watch->object = sim::new_object();
    impl.seen = all().side[impl.watch->path].size;
    if (impl.has_file) all().watches.push_back(impl.watch);
}

WakeFile::~WakeFile() {
    const sim::Unseen unseen;
    std::erase_if(all().watches, [&](const auto& watch) { return watch == impl_->watch; });
}

void WakeFile::signal() noexcept {
    const sim::Unseen unseen;
    Impl& impl = *impl_;
    if (!impl.has_file) return;
    sim::point('g', impl.watch->object);
    ++all().side[impl.watch->path].size;
    ++impl.own;
    for (const auto& watch : all().watches) {
        if (watch->path == impl.watch->path && watch != impl.watch) sim::wake(watch->object, true);
    }
    sim::point('g', impl.watch->object);
}

WakeFile::Event WakeFile::wait(Duration timeout) {
    const sim::Unseen unseen;
    constexpr Duration kLogReportInterval = std::chrono::milliseconds(5);
    Impl& impl = *impl_;
    const sim::Nanos end = timeout == Duration::max() ? sim::kNever : sim::steady_ns() + timeout.count();
    sim::point('G', impl.watch->object);
    for (;;) {
        Event event;
        const std::uint64_t size = impl.has_file ? all().side[impl.watch->path].size : 0;
        event.signalled = size - impl.seen != impl.own;
        impl.seen = size;
        impl.own = 0;
        event.woken = std::exchange(impl.woken, false);
        const SteadyTime quiet_until = impl.log_reported + kLogReportInterval;
        event.wal = impl.watch->log_pending && (event.signalled || steady_now() >= quiet_until);
        if (event.wal) {
            impl.watch->log_pending = false;
            impl.log_reported = steady_now();
        }
        if (event.signalled || event.wal || event.woken || sim::steady_ns() >= end) return event;
        sim::block('G', impl.watch->object,
                   impl.watch->log_pending ? std::min<sim::Nanos>(end, quiet_until.time_since_epoch().count())
                                           : end);
    }
}

void WakeFile::interrupt() noexcept {
    const sim::Unseen unseen;
    impl_->woken = true;
    sim::wake(impl_->watch->object, true);
    sim::point('g', impl_->watch->object);
}

struct TurnFile::Impl {
    std::string path;
};

TurnFile::TurnFile(const std::string& database) : impl_(std::make_shared<Impl>(Impl{database})) {
    const sim::Unseen unseen;
    auto& queue = all().turns[database];
    if (queue.object == 0) queue.object = sim::new_object();
}

TurnFile::~TurnFile() = default;

bool TurnFile::lock(Duration timeout, const std::function<bool()>& give_up) {
    const sim::Unseen unseen;
    constexpr sim::Nanos kAskEvery = 50 * sim::kMillisecond;
    if (sim::quiet()) return true;
    auto& queue = all().turns[impl_->path];
    sim::point('Q', queue.object);
    queue.holders.push_back(impl_.get());
    queue.processes.push_back(sim::current_process());
    const sim::Nanos end = sim::steady_ns() + timeout.count();
    while (queue.holders.front() != impl_.get()) {
        const sim::Nanos now = sim::steady_ns();
        if (now >= end || (give_up && give_up())) {
            sim::files::leave(queue, impl_.get());
            return false;
        }
        sim::block('q', queue.object, std::min(end, now + kAskEvery));
    }
    return true;
}

void TurnFile::unlock() noexcept {
    const sim::Unseen unseen;
    if (sim::quiet()) return;
    auto& queue = all().turns[impl_->path];
    if (!queue.holders.empty() && queue.holders.front() == impl_.get()) sim::files::leave(queue, impl_.get());
    sim::point('Q', queue.object);
}

}  // namespace dbos::seam
