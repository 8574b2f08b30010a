#include "sysdb/wake_listener.hpp"

#include <charconv>
#include <utility>

#include "sysdb/database.hpp"

namespace dbos::sysdb {

namespace {

constexpr const char* kChannel = "dbos_cpp_wake";
// Shared channels of all SDKs: messages, events, streams (py: dbos/_sys_db.py).
constexpr const char* kSharedChannels[] = {"dbos_notifications_channel", "dbos_workflow_events_channel", "dbos_streams_channel"};
// A change of the write-ahead log so soon after a commit of our own is taken for that commit; the poll floor covers the rest.
constexpr auto kOwnCommit = std::chrono::milliseconds(20);

bool parse_hashes(std::string_view text, std::vector<std::uint32_t>& hashes) {
    if (text == "*") return true;
    while (!text.empty()) {
        const auto comma = text.find(',');
        const std::string_view one = text.substr(0, comma);
        std::uint32_t hash = 0;
        const auto end = one.data() + one.size();
        if (const auto [at, error] = std::from_chars(one.data(), end, hash, 16); error == std::errc() && at == end) hashes.push_back(hash);
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
        std::vector<std::string> channels{kChannel};
        channels.insert(channels.end(), std::begin(kSharedChannels), std::end(kSharedChannels));
        listener_ = std::make_unique<sql::Listener>(
            core_.options.open, std::move(channels),
            sql::Listener::Handler{.notified =
                                       [this](std::string_view channel, std::string_view payload) {
                                           Wakeups::Event event;
                                           if (channel == kChannel) {
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
    } else if (core_.wake_file) {
        thread_ = seam::spawn("dbos-wake", [this] { watch_file(); });
    }
}

WakeListener::~WakeListener() {
    stopping_.store(true);
    listener_.reset();
    if (thread_.joinable()) {
        core_.wake_file->interrupt();
        thread_.join();
    }
}

void WakeListener::watch_file() {
    while (!stopping_.load()) {
        const auto seen = core_.wake_file->wait(std::chrono::seconds(1));
        if (stopping_.load()) return;
        const bool foreign_write = seen.wal && seam::steady_now() - core_.last_commit() > kOwnCommit;
        if (!seen.signalled && !foreign_write) continue;
        Wakeups::Event event;
        event.all = true;
        tell(event);
        if (!seen.signalled) seam::sleep_for(std::chrono::milliseconds(5));  // at most one check per 5 ms for the log alone
    }
}

void WakeListener::tell(const Wakeups::Event& event) {
    std::lock_guard lock(mutex_);
    for (const auto& [key, handler] : handlers_) handler(event);
}

void WakeListener::subscribe(const void* key, Handler handler) {
    std::lock_guard lock(mutex_);
    handlers_.emplace(key, std::move(handler));
}

void WakeListener::unsubscribe(const void* key) {
    std::lock_guard lock(mutex_);
    handlers_.erase(key);
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
