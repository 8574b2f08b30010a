// Opening a SQLite file, its settings, and what is wrong with it.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "sql/open.hpp"
#include "sql/source.hpp"
#include "sql/sqlite/connection.hpp"

namespace dbos::sql::sqlite {

using namespace std::chrono_literals;

namespace {

DatabaseErrorKind kind_of(int code, std::string_view message) {
    using enum DatabaseErrorKind;
    switch (code) {
        case SQLITE_CONSTRAINT_UNIQUE:
        case SQLITE_CONSTRAINT_PRIMARYKEY:
        case SQLITE_CONSTRAINT_ROWID: return unique_violation;
        case SQLITE_CONSTRAINT_FOREIGNKEY: return foreign_key;
        default: break;
    }
    switch (code & 0xff) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_PROTOCOL: return busy;
        case SQLITE_READONLY: return read_only;
        case SQLITE_PERM:
        case SQLITE_AUTH: return permission;
        case SQLITE_INTERRUPT: return connection;
        case SQLITE_ERROR:
            if (message.starts_with("no such table") || message.starts_with("no such column") ||
                message.find("has no column named") != std::string_view::npos) {
                return undefined_object;
            }
            return other;
        default: return other;
    }
}

/// Why a file cannot be opened, in words: SQLite's own say "unable to open database file" for everything.
std::string diagnose(const std::string& path, bool create) {
    std::error_code ignored;
    const std::filesystem::path file(path);
    const std::filesystem::path directory =
        file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
    if (!std::filesystem::exists(directory, ignored)) {
        return "the directory " + directory.string() + " does not exist; create it first";
    }
    if (std::filesystem::is_directory(file, ignored)) return "this is a directory; name a file in it";
    if (!std::filesystem::exists(file, ignored)) {
        return create ? "it cannot be created; is the directory writable for this user?"
                      : "the file does not exist; is the path right, and has an application created it?";
    }
    return "it cannot be opened; may this user read and write the file and its directory?";
}

}  // namespace

DatabaseError error_of(int code, const char* message, std::string_view what) {
    const std::string_view text = message != nullptr ? message : sqlite3_errstr(code);
    const DatabaseErrorKind kind = kind_of(code, text);
    std::string constraint;
    if (const auto colon = text.find("constraint failed: "); colon != std::string_view::npos) {
        constraint = text.substr(colon + 19);
    }
    std::string full =
        std::string(what) + " failed: " + std::string(text) + " (" + std::to_string(code) + ")";
    if ((code & 0xff) == SQLITE_NOTADB) full += "; the file is not a SQLite database (or it is encrypted)";
    if (kind == DatabaseErrorKind::read_only) {
        full +=
            "; this connection is read-only, or this user may not write the file, its log (-wal) or its "
            "directory: make "
            "them writable";
    }
    return {kind, full, "sqlite:" + std::to_string(code), constraint};
}

SqliteConnection::SqliteConnection(const OpenOptions& options) : path_(options.url.path), by_text_(64) {
    try {
        open(options);
        configure(options);
    } catch (...) {
        let_go();
        throw;
    }
}

void SqliteConnection::borrow(const OpenOptions& options) {
    sqlite3* const handle = acquire(options.source->acquire_sqlite);
    if (sqlite3_get_autocommit(handle) == 0) {
        options.source->release_sqlite(handle, false);
        throw UsageError(
            "system_database_engine: expected an idle connection, got one with an open transaction");
    }
    source_ = options.source;
    db_ = handle;
    settings_ = {.busy_timeout = setting("PRAGMA busy_timeout"),
                 .foreign_keys = setting("PRAGMA foreign_keys"),
                 .synchronous = setting("PRAGMA synchronous")};
}

std::int64_t SqliteConnection::setting(const char* pragma) {
    std::int64_t value = 0;
    const auto see = [](void* to, int, char** values, char**) {
        *static_cast<std::int64_t*>(to) = values[0] ? std::atoll(values[0]) : 0;
        return 0;
    };
    if (const int code = sqlite3_exec(db_, pragma, see, &value, nullptr); code != SQLITE_OK)
        raise(code, pragma);
    return value;
}

void SqliteConnection::let_go() noexcept {
    sqlite3* const handle = std::exchange(db_, nullptr);
    const auto source = std::exchange(source_, nullptr);
    if (!source) {
        sqlite3_close(handle);
        return;
    }
    bool good = sqlite3_get_autocommit(handle) != 0;
    sqlite3_progress_handler(handle, 0, nullptr, nullptr);
    sqlite3_wal_autocheckpoint(handle, 1000);  // SQLite's default, in place of our hook
    sqlite3_busy_timeout(handle, static_cast<int>(settings_.busy_timeout));
    const std::string restore = "PRAGMA foreign_keys = " + std::to_string(settings_.foreign_keys) +
                                "; PRAGMA synchronous = " + std::to_string(settings_.synchronous);
    good = good && sqlite3_exec(handle, restore.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK;
    source->release_sqlite(handle, good);
}

void SqliteConnection::open(const OpenOptions& options) {
    if (seam::db_call(seam::DbOp::open) != seam::DbFault::none) raise_fault("open", false);
    const bool memory = path_ == kMemoryPath;
    const bool create = options.create_file && !options.read_only;
    const int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create || memory ? SQLITE_OPEN_CREATE : 0);
    int code = SQLITE_OK;
    if (options.source) {
        borrow(options);
    } else {
        code = sqlite3_open_v2(path_.c_str(), &db_, flags, memory ? nullptr : seam::db_vfs());
    }
    seam::db_return(seam::DbOp::open);
    if (code != SQLITE_OK) {
        if (db_ == nullptr) throw std::bad_alloc();
        throw DatabaseError(DatabaseErrorKind::other,
                            "cannot open the SQLite file " + path_ + ": " + diagnose(path_, create),
                            "sqlite:" + std::to_string(sqlite3_extended_errcode(db_)));
    }
    sqlite3_extended_result_codes(db_, 1);
    sqlite3_busy_handler(db_, &SqliteConnection::on_busy, this);
    constexpr int kInstructionsBetweenLooks = 20'000;
    sqlite3_progress_handler(db_, kInstructionsBetweenLooks, &SqliteConnection::on_progress, this);
    if (memory) return;
    turn_ = std::make_unique<seam::TurnFile>(path_);
    commits_ = options.commits;
    if (commits_) sqlite3_wal_hook(db_, &SqliteConnection::on_commit, this);
}

void SqliteConnection::configure(const OpenOptions& options) {
    const bool memory = path_ == kMemoryPath;
    if (options.counts_commits) return watch_log();
    pragma("PRAGMA foreign_keys = ON");
    if (options.read_only) {
        pragma("PRAGMA query_only = ON");
    } else {
        if (sqlite3_db_readonly(db_, "main") == 1) {
            throw DatabaseError(DatabaseErrorKind::read_only,
                                "the SQLite file " + path_ +
                                    " is read-only for this user; make it and its directory writable",
                                "sqlite:" + std::to_string(SQLITE_READONLY));
        }
        if (!memory) enter_wal();
    }
    pragma(options.full_sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    pragma("SELECT 1 FROM sqlite_master LIMIT 1");  // the first read: finds what is not a database
}

/// The change to write-ahead logging needs the file alone, and SQLite does not wait for that.
void SqliteConnection::enter_wal() {
    const seam::SteadyTime end = seam::steady_now() + 30s;
    for (;;) {
        const auto see = [](void* self, int, char** values, char**) {
            static_cast<SqliteConnection*>(self)->wal_ = sqlite3_stricmp(values[0], "wal") == 0;
            return 0;
        };
        const int code = sqlite3_exec(db_, "PRAGMA journal_mode = WAL", see, this, nullptr);
        if (code == SQLITE_OK) return;
        const bool busy = (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED ||
                          (code & 0xff) == SQLITE_PROTOCOL;
        if (!busy || seam::steady_now() >= end || interrupted_.load())
            raise(sqlite3_extended_errcode(db_), "journal_mode");
        seam::sleep_for(std::chrono::microseconds(500 + seam::random_u64() % 2000));
    }
}

/// Maps the index of the log, if the file has one, by a read that needs no schema.
void SqliteConnection::watch_log() {
    constexpr int kVersions = 18;  // of the file format to write and to read; 2 = write-ahead logging
    unsigned char versions[2] = {};
    sqlite3_file* file = nullptr;
    pragma("PRAGMA data_version");
    if (sqlite3_file_control(db_, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file)) ==
            SQLITE_OK &&
        file != nullptr && file->pMethods != nullptr)
        wal_ = file->pMethods->xRead(file, versions, sizeof versions, kVersions) == SQLITE_OK &&
               versions[1] == 2;
}

void SqliteConnection::pragma(const char* text) { simple(text, text); }

Url url_of(sqlite3* connection) {
    const char* const path = sqlite3_db_filename(connection, "main");
    if (path == nullptr || *path == '\0')
        throw ConfigError(
            "system_database_engine: expected connections to a database file, got one in memory");
    Url url;
    url.backend = Backend::sqlite;
    url.path = path;
    url.printable = "sqlite:///" + url.path;
    return url;
}

std::unique_ptr<Connection> open_sqlite(const OpenOptions& options) {
    return std::make_unique<SqliteConnection>(options);
}

}  // namespace dbos::sql::sqlite
