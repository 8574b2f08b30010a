#include <chrono>
#include <memory>
#include <mutex>
#include <utility>

#include "sql/postgres/link.hpp"
#include "sql/text.hpp"

namespace dbos::sql {

using namespace std::chrono_literals;

namespace {

constexpr seam::Duration kLongestBackOff = 5s;

struct NotifyDeleter {
    void operator()(PGnotify* notify) const noexcept { PQfreemem(notify); }
};

std::string random_channel() {
    constexpr char kHex[] = "0123456789abcdef";
    std::string name = "dbos_cpp_self_";
    std::uint64_t bits = seam::random_u64();
    for (int i = 0; i < 16; ++i, bits >>= 4) name += kHex[bits & 15];
    return name;
}

}  // namespace

struct Listener::Impl {
    Impl(OpenOptions given, std::vector<std::string> names, Handler wanted)
        : options(std::move(given)), channels(std::move(names)), handler(std::move(wanted)) {
        options.pinned_plans = false;
        options.reply_timeout = 10s;  // of LISTEN itself; the wait for notifications has no limit
        for (const auto& channel : channels) subscription += "LISTEN " + quote_identifier(channel) + ";";
        subscription += "LISTEN " + quote_identifier(own_channel);
        for (const auto& channel : channels) farewell += "UNLISTEN " + quote_identifier(channel) + ";";
        farewell += "UNLISTEN " + quote_identifier(own_channel);
    }

    void run() {
        for (int attempt = 0; !link.interrupted(); ++attempt) {
            try {
                subscribe();
                attempt = 0;
                for (;;) {
                    deliver();
                    link.wait_input(seam::Duration::max());
                }
            } catch (const postgres::LinkLost&) {
            } catch (const Error&) {
            }
            connected.store(false);
            const bool ending = link.interrupted();
            if (ending) say_farewell();
            link.close();
            if (ending) return;
            std::unique_lock lock(mutex);
            changed.notify_all();
            changed.wait_for(lock, retry_delay(attempt, kLongestBackOff),
                             [this] { return link.interrupted(); });
        }
    }

    /// A connection that goes back to the caller hears no more of what concerns nobody.
    void say_farewell() noexcept {
        if (!link.lent() || !link.open()) return;
        link.clear_interrupt();
        try {
            static_cast<void>(link.simple(farewell.c_str()));
        } catch (const postgres::LinkLost&) {  // given back as broken
        }
    }

    void subscribe() {
        link.connect(options);
        const postgres::ResultPtr result = link.simple(subscription.c_str());
        if (PQresultStatus(result.get()) != PGRES_COMMAND_OK)
            throw postgres::error_of(result.get(), "LISTEN", false);
        {
            const std::lock_guard lock(mutex);
            connected.store(true);
            changed.notify_all();
        }
        if (handler.reconnected) handler.reconnected();
    }

    void deliver() {
        while (const std::unique_ptr<PGnotify, NotifyDeleter> notify{PQnotifies(link.get())}) {
            if (link.interrupted()) return;
            if (own_channel == notify->relname) {
                const std::lock_guard lock(mutex);
                heard = notify->extra;
                changed.notify_all();
            } else if (handler.notified) {
                handler.notified(notify->relname, notify->extra);
            }
        }
    }

    const int pid = seam::process_id();
    OpenOptions options;
    const std::vector<std::string> channels;
    const Handler handler;
    const std::string own_channel = random_channel();
    std::string subscription;
    std::string farewell;
    postgres::Link link;
    seam::Atomic<bool> connected{false};
    seam::Mutex mutex;
    seam::CondVar changed;
    std::string heard;  // the last payload on the own channel
    seam::Thread thread;
};

Listener::Listener(OpenOptions options, std::vector<std::string> channels, Handler handler)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(channels), std::move(handler))) {
    impl_->thread = seam::spawn("dbos-listen", [impl = impl_.get()] { impl->run(); });
}

Listener::~Listener() {
    if (seam::process_id() != impl_->pid) {  // thread and socket belong to the parent
        (void)impl_.release();
        return;
    }
    impl_->link.interrupt();
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->changed.notify_all();
    }
    impl_->thread.join();
}

bool Listener::connected() const noexcept { return impl_->connected.load(); }

bool Listener::self_test(seam::Duration timeout) {
    Impl& impl = *impl_;
    const seam::SteadyTime end = seam::steady_now() + timeout;
    const std::string token = random_channel();
    {
        std::unique_lock lock(impl.mutex);
        if (!impl.changed.wait_until(lock, end, [&] { return impl.connected.load(); })) return false;
    }
    // From another connection: a pooler that drops LISTEN would still answer on the listener's own.
    const auto sender = open(impl.options);
    sender->query("SELECT pg_catalog.pg_notify($1, $2)",
                  {std::string_view(impl.own_channel), std::string_view(token)}, Access::write);
    std::unique_lock lock(impl.mutex);
    return impl.changed.wait_until(lock, end, [&] { return impl.heard == token; });
}

}  // namespace dbos::sql
