#include "sysdb/wake_listener.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "sysdb/database.hpp"

namespace dbos::sysdb {

namespace {

// Shared channels of all SDKs: messages, events, streams (py: dbos/_sys_db.py).
constexpr const char* kSharedChannels[] = {kMessageChannel, kEventChannel, kStreamChannel};
/// The frames of a commit stand in the log before the header that publishes them, by as long as the disk takes to write them
/// through: how long, and how often, to look for the change. Longer than that is the poll floor of whoever waits.
constexpr seam::Duration kLogPatience = std::chrono::seconds(1);
constexpr seam::Duration kShortestPause = std::chrono::milliseconds(1);
constexpr seam::Duration kLongestPause = std::chrono::milliseconds(256);
constexpr seam::Duration kIdleWait = std::chrono::seconds(1);
/// Where commits cannot be counted, a change cannot be told from an own one: tell no more often than this.
constexpr seam::Duration kUnsureInterval = std::chrono::milliseconds(250);

bool parse_hashes(std::string_view text, std::vector<std::uint32_t>& hashes) {
    if (text == "*") return true;
    while (!text.empty()) {
        const auto comma = text.find(',');
        const std::string_view one = text.substr(0, comma);
        std::uint32_t hash = 0;
        const auto end = one.data() + one.size();
        if (const auto [at, error] = std::from_chars(one.data(), end, hash, 16);
            error == std::errc() && at == end)
            hashes.push_back(hash);
        if (comma == std::string_view::npos) break;
        text.remove_prefix(comma + 1);
    }
    return false;
}

}  // namespace

Wakeups::Event WakeListener::parse(std::string_view payload, std::string_view schema) {
    Wakeups::Event event;
    // From the right: a schema name may hold anything.
    const auto w = payload.rfind(" w:");
    const auto q = w == std::string_view::npos ? w : payload.rfind(" q:", w);
    if (q == std::string_view::npos || payload.substr(0, q) != schema) return event;
    event.all_queues = parse_hashes(payload.substr(q + 3, w - q - 3), event.queue_hashes);
    event.all_workflows = parse_hashes(payload.substr(w + 3), event.workflow_hashes);
    return event;
}

WakeListener::WakeListener(SystemDatabase::Core& core) : core_(core) {
    if (core_.backend == sql::Backend::postgres) {
        std::vector<std::string> channels{kWakeChannel};
        channels.insert(channels.end(), std::begin(kSharedChannels), std::end(kSharedChannels));
        listener_ = std::make_unique<sql::Listener>(
            core_.options.open, std::move(channels),
            sql::Listener::Handler{.notified =
                                       [this](std::string_view channel, std::string_view payload) {
                                           Wakeups::Event event;
                                           if (channel == kWakeChannel) {
                                               event = parse(payload, core_.options.open.schema);
                                           } else {
                                               event.channel = std::string(channel);
                                               event.payload = std::string(payload);
                                           }
                                           tell(event);
                                       },
                                   .reconnected =
                                       [this] {
                                           Wakeups::Event event;
                                           event.all = true;
                                           tell(event);
                                       }});
        return;
    }
    file_ = core_.wake_file();
    if (!file_) return;  // :memory:, this process is alone
    others_committed();  // from here on they are told
    thread_ = seam::spawn("dbos-wake", [this] { watch_file(); });
}

WakeListener::~WakeListener() {
    stopping_.store(true);
    listener_.reset();
    if (thread_.joinable()) {
        file_->interrupt();
        thread_.join();
    }
}

void WakeListener::watch_file() {
    // The log has changed: perhaps by the commit of a writer that knows nothing of the side file. A change that is found
    // proves nothing about the last event: it may be the commit before that.
    bool looking = false;
    seam::SteadyTime until{};
    seam::Duration pause{};
    while (!stopping_.load()) {
        // Signals of peers are heard meanwhile.
        const seam::WakeFile::Event event = file_->wait(looking ? pause : kIdleWait);
        if (stopping_.load()) return;
        if (event.wal) {
            looking = true;
            until = seam::steady_now() + kLogPatience;
            pause = kShortestPause;
        }
        const bool changed = (looking || event.signalled) && others_committed();
        if (changed || event.signalled) tell_all();
        pause = std::min(pause * 2, kLongestPause);
        // An own commit that is running may hide one of others.
        if (seam::steady_now() >= until && core_.own_commits().running.load() == 0) looking = false;
    }
}

/// Whether others have committed since this was last told. While an own commit is running it counts as one that the file's
/// number holds already, so a commit of others may be seen only at the next look, but never an own one as theirs.
bool WakeListener::others_committed() {
    const std::optional<std::uint32_t> number = file_commits();  // before the own ones are counted
    if (!number) {
        seen_commits_.reset();
        const seam::SteadyTime now = seam::steady_now();
        if (now - unsure_told_ < kUnsureInterval) return false;
        unsure_told_ = now;
        return true;
    }
    const std::int64_t others = std::int64_t{*number} - core_.own_commits().at_most();
    const bool counts_on = seen_commits_ && *number >= *seen_commits_;
    seen_commits_ = number;
    if (!counts_on) {  // the first look, or the log was recovered
        base_ = others;
        told_ = 0;
        return true;
    }
    if (others - base_ <= told_) return false;
    told_ = others - base_;
    return true;
}

/// The number of commits to the file. Nothing if it cannot be known.
std::optional<std::uint32_t> WakeListener::file_commits() {
    try {
        if (!connection_ || !connection_->usable()) {
            sql::OpenOptions open = core_.options.open;
            open.counts_commits = true;
            connection_ = sql::open(open);
        }
        return connection_->file_commits();
    } catch (const std::exception&) {
        connection_.reset();
        return std::nullopt;
    }
}

void WakeListener::tell_all() {
    Wakeups::Event event;
    event.all = true;
    tell(event);
}

void WakeListener::tell(const Wakeups::Event& event) {
    std::lock_guard lock(mutex_);
    for (const auto& [key, handler] : handlers_) handler(event);
}

void WakeListener::subscribe(const void* key, Handler handler) {
    std::lock_guard lock(mutex_);
    handlers_.emplace_back(key, std::move(handler));
}

void WakeListener::unsubscribe(const void* key) {
    std::lock_guard lock(mutex_);
    std::erase_if(handlers_, [key](const auto& entry) { return entry.first == key; });
}

std::shared_ptr<WakeListener> SystemDatabase::Core::wake_listener() {
    std::lock_guard lock(wake_mutex_);
    auto listener = wake_listener_.lock();
    if (!listener) {
        listener = std::make_shared<WakeListener>(*this);
        wake_listener_ = listener;
    }
    return listener;
}

struct Wakeups::Impl {
    std::shared_ptr<WakeListener> listener;
};

Wakeups::Wakeups(SystemDatabase& database, std::function<void(const Event&)> handler)
    : impl_(std::make_unique<Impl>(Impl{database.core().wake_listener()})) {
    impl_->listener->subscribe(this, std::move(handler));
}

Wakeups::~Wakeups() { impl_->listener->unsubscribe(this); }

}  // namespace dbos::sysdb
