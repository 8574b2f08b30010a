// Core: calls that write in a transaction of the caller's.
#include "sysdb/in_transaction.hpp"

#include "client/core.hpp"
#include "sql/borrowed.hpp"
#include "sysdb/announce.hpp"
#include "sysdb/database.hpp"

namespace dbos::client {

std::unique_ptr<sql::Connection> Core::borrow(const CallerTransaction& transaction) {
    check_open();
    const sysdb::DatabaseOptions& options = database_->options();
    const bool postgres = options.open.url.backend == sql::Backend::postgres;
    if (postgres == transaction.is_sqlite()) {
        throw UsageError(std::string("expected a connection to ") +
                         (postgres ? "PostgreSQL (PGconn*)" : "SQLite (sqlite3*)") +
                         ", as that of this client, got one to " + (postgres ? "SQLite" : "PostgreSQL"));
    }
    return postgres ? sql::borrow(transaction.postgres(), options.open.schema)
                    : sql::borrow(transaction.sqlite());
}

sysdb::Layout Core::layout_of(const CallerTransaction& transaction, sql::Connection& connection) {
    const std::string key =
        transaction.is_sqlite() ? sql::identity(transaction.sqlite()) : sql::identity(transaction.postgres());
    {
        const std::lock_guard<seam::Mutex> lock(layouts_mutex_);
        if (const auto known = layouts_.find(key); known != layouts_.end()) return known->second;
    }
    sysdb::Layout layout = sysdb::probe(connection, database_->options().open.schema);
    const std::lock_guard<seam::Mutex> lock(layouts_mutex_);
    return layouts_.insert_or_assign(key, std::move(layout)).first->second;
}

std::shared_ptr<detail::HandleState> Core::enqueue_in(const CallerTransaction& transaction,
                                                      const detail::CallTarget& target,
                                                      EnqueueOptions&& options, Arguments&& arguments) {
    const PreparedStart start =
        prepare(target, std::move(options), std::move(arguments), core::StartKind::enqueue);
    const auto connection = borrow(transaction);
    try {
        const sysdb::Layout layout = layout_of(transaction, *connection);
        const std::span<const sysdb::NewWorkflow> rows(&start.row, 1);
        const auto results = sysdb::start_in(database_->core(), *connection, layout, rows, true);
        std::string id = settle(start, results.front());
        if (transaction.notify()) {
            const auto queues = sysdb::queues_of(rows, results);
            sysdb::notify_in_transaction(database_->core(), *connection, {.queues = queues});
        }
        return handle(std::move(id), false);  // it may be undone yet
    } catch (const DatabaseError& error) {
        // A migration may have changed the tables: the caller's next attempt looks again.
        if (error.kind() == DatabaseErrorKind::undefined_object) {
            const std::lock_guard<seam::Mutex> lock(layouts_mutex_);
            layouts_.clear();
        }
        throw;
    }
}

void Core::send_in(const CallerTransaction& transaction, std::span<const sysdb::NewMessage> messages,
                   bool to_forks) {
    sysdb::send_in(*borrow(transaction), messages, to_forks);
}

void Core::wake(const std::string& queue) {
    guarded(*this, [&] {
        database_->wake(queue);
        return 0;
    });
}

}  // namespace dbos::client
