#include <algorithm>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "sql/open.hpp"

namespace dbos::sql {

using namespace std::chrono_literals;

std::unique_ptr<Connection> open(const OpenOptions& options) {
    return options.url.backend == Backend::postgres ? postgres::open_postgres(options)
                                                    : sqlite::open_sqlite(options);
}

std::shared_ptr<sqlite::MemoryDatabase> make_memory_database() {
    OpenOptions options;
    options.url = Url::parse("sqlite:///:memory:");
    return std::make_shared<sqlite::MemoryDatabase>(options);
}

std::unique_ptr<Connection> memory_connection(sqlite::MemoryDatabase& database) { return database.connect(); }

bool create_database_if_missing(const Url& url) {
    return url.backend == Backend::postgres && postgres::create_database_if_missing(url);
}

Lent Connection::lend(bool) { throw std::logic_error("this connection cannot be lent"); }

Returned Connection::take_back() noexcept { return {Returned::State::broken, {}}; }

struct Pool::Impl {
    Impl(OpenOptions given, std::size_t limit)
        : options(std::move(given)), size(std::max<std::size_t>(limit, 1)) {}

    std::unique_ptr<Connection> connect(bool pinned_plans) {
        if (options.url.backend == Backend::sqlite && options.url.path == kMemoryPath) {
            return memory_database().connect();
        }
        OpenOptions chosen = options;
        chosen.pinned_plans = pinned_plans;
        return open(chosen);
    }

    /// Registers what close() has to interrupt.
    void lend(Connection* connection) {
        const std::lock_guard lock(mutex);
        if (closed) throw DatabaseError(DatabaseErrorKind::closed, "the connection pool has been closed");
        leased.push_back(connection);
    }

    /// A new connection, registered; on PostgreSQL already while it connects.
    std::unique_ptr<Connection> connect_lent() {
        if (options.url.backend == Backend::sqlite) {
            auto connection = decorated(connect(false));
            lend(connection.get());
            return connection;
        }
        auto connection = postgres::make_unconnected(options);
        lend(connection.get());
        try {
            postgres::connect(*connection, options);
        } catch (...) {
            const std::lock_guard lock(mutex);
            std::erase(leased, connection.get());
            if (closed) throw DatabaseError(DatabaseErrorKind::closed, "the connection pool has been closed");
            throw;
        }
        if (!options.decorate) return connection;
        Connection* const plain = connection.get();
        connection = decorated(std::move(connection));
        const std::lock_guard lock(mutex);
        std::ranges::replace(leased, plain, connection.get());
        return connection;
    }

    std::unique_ptr<Connection> decorated(std::unique_ptr<Connection> connection) const {
        return options.decorate ? options.decorate(std::move(connection)) : std::move(connection);
    }

    sqlite::MemoryDatabase& memory_database() {
        if (options.memory) return *options.memory;
        const std::lock_guard lock(mutex);
        if (!memory) memory = std::make_unique<sqlite::MemoryDatabase>(options);
        return *memory;
    }

    void give_back(std::unique_ptr<Connection> connection) noexcept {
        if (connection->in_transaction()) connection->rollback();
        const bool keep = connection->usable();
        {
            const std::lock_guard lock(mutex);
            std::erase(leased, connection.get());
            if (keep && !closed) {
                idle.push_back(std::move(connection));
            } else {
                --open_count;
            }
            changed.notify_one();
        }
        connection.reset();  // closing may take a round trip: not under the lock
    }

    void forget_one() noexcept {
        const std::lock_guard lock(mutex);
        --open_count;
        changed.notify_one();
    }

    const int pid = seam::process_id();
    const OpenOptions options;
    const std::size_t size;
    seam::Mutex mutex;
    seam::CondVar changed;
    bool closed = false;
    std::size_t open_count = 0;                     // idle, leased and being opened
    std::vector<std::unique_ptr<Connection>> idle;  // the last one used is the first one out
    std::vector<Connection*> leased;
    std::unique_ptr<sqlite::MemoryDatabase> memory;
};

Pool::Pool(OpenOptions options, std::size_t size) : impl_(std::make_unique<Impl>(std::move(options), size)) {}

Pool::~Pool() = default;

const OpenOptions& Pool::options() const noexcept { return impl_->options; }

Pool::Lease Pool::acquire() {
    Impl& impl = *impl_;
    if (seam::process_id() != impl.pid)
        throw UsageError("a connection pool was used in a forked child; open one there");
    const seam::SteadyTime end = seam::steady_now() + 30s;
    std::unique_ptr<Connection> found;
    for (;;) {
        std::unique_ptr<Connection> dead;  // closed outside of the lock
        std::unique_lock lock(impl.mutex);
        while (!impl.closed && impl.idle.empty() && impl.open_count >= impl.size) {
            if (impl.changed.wait_until(lock, end) == std::cv_status::timeout && impl.idle.empty() &&
                impl.open_count >= impl.size && !impl.closed) {
                throw DatabaseError(
                    DatabaseErrorKind::busy,
                    "no connection of the pool of " + std::to_string(impl.size) + " to " +
                        impl.options.url.printable +
                        " became free within 30 s; are transactions kept open, or is the pool too small?");
            }
        }
        if (impl.closed)
            throw DatabaseError(DatabaseErrorKind::closed, "the connection pool has been closed");
        if (impl.idle.empty()) {
            ++impl.open_count;
            break;
        }
        found = std::move(impl.idle.back());
        impl.idle.pop_back();
        lock.unlock();
        if (found->usable()) break;
        dead = std::move(found);
        impl.forget_one();
    }
    try {
        if (found) {
            impl.lend(found.get());
        } else {
            found = impl.connect_lent();
        }
    } catch (...) {
        impl.forget_one();
        throw;
    }
    return Lease(*this, std::move(found));
}

std::unique_ptr<Connection> Pool::open_dedicated(bool pinned_plans) {
    if (seam::process_id() != impl_->pid)
        throw UsageError("a connection pool was used in a forked child; open one there");
    return impl_->connect(pinned_plans);
}

void Pool::close() noexcept {
    Impl& impl = *impl_;
    std::vector<std::unique_ptr<Connection>> idle;
    if (seam::process_id() != impl.pid) return;
    {
        const std::lock_guard lock(impl.mutex);
        impl.closed = true;
        idle.swap(impl.idle);
        impl.open_count -= idle.size();
        for (Connection* connection : impl.leased) connection->interrupt();
        impl.changed.notify_all();
    }
}

Pool::Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), connection_(std::move(other.connection_)) {}

Pool::Lease::~Lease() {
    if (connection_ == nullptr) return;
    if (seam::process_id() != pool_->impl_->pid) return;
    pool_->impl_->give_back(std::move(connection_));
}

}  // namespace dbos::sql
