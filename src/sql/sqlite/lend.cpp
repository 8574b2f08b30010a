// A handle in the hands of the program's own code.
#include <utility>

#include "sql/sqlite/connection.hpp"

namespace dbos::sql::sqlite {

Lent SqliteConnection::lend(bool read_only) {
    check("lend");
    if (read_only) {
        pragma("PRAGMA query_only = ON");
        lent_read_only_ = true;
    }
    ended_by_others_ = false;
    // A COMMIT of the program's becomes a rollback: what it has written must not be there without its record.
    sqlite3_commit_hook(db_, [](void*) { return 1; }, nullptr);
    sqlite3_rollback_hook(db_, [](void* ended) { *static_cast<bool*>(ended) = true; }, &ended_by_others_);
    return {.sqlite = db_};
}

Returned SqliteConnection::take_back() noexcept {
    Returned returned;
    returned.error = "sqlite:" + std::to_string(sqlite3_extended_errcode(db_));
    sqlite3_commit_hook(db_, nullptr, nullptr);
    sqlite3_rollback_hook(db_, nullptr, nullptr);
    if (std::exchange(lent_read_only_, false))
        sqlite3_exec(db_, "PRAGMA query_only = OFF", nullptr, nullptr, nullptr);
    if (ended_by_others_ || sqlite3_get_autocommit(db_) != 0) returned.state = Returned::State::ended;
    if (!usable()) returned.state = Returned::State::broken;
    return returned;
}

}  // namespace dbos::sql::sqlite
