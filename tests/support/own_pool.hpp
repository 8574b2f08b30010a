// A pool of connections as a program may have one, for system_database_engine.
#pragma once

#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "dbos/connection_source.hpp"
#include "sql/connection.hpp"

namespace dbos::test {

/// A pool of the program's, of either back end. Never closes what is lent.
class OwnPool {
   public:
    OwnPool(sql::Backend backend, std::string url, std::string path)
        : sqlite_(backend == sql::Backend::sqlite), url_(std::move(url)), path_(std::move(path)) {}
    ~OwnPool() {
        for (void* connection : idle_) close(connection);
        for (void* connection : lent_) close(connection);
    }
    OwnPool(const OwnPool&) = delete;
    OwnPool& operator=(const OwnPool&) = delete;

    std::shared_ptr<ConnectionSource> source() {
        if (sqlite_) {
            return sqlite_connections([this] { return static_cast<sqlite3*>(take()); },
                                      [this](sqlite3* connection, bool good) { put(connection, good); });
        }
        return postgres_connections([this] { return static_cast<PGconn*>(take()); },
                                    [this](PGconn* connection, bool good) { put(connection, good); });
    }

    void* take() {
        const std::lock_guard lock(mutex_);
        if (refusals_ > 0) {
            --refusals_;
            return nullptr;
        }
        void* connection = idle_.empty() ? open() : *idle_.begin();
        idle_.erase(connection);
        lent_.insert(connection);
        most_ = std::max(most_, lent_.size());
        return connection;
    }
    void put(void* connection, bool good) {
        const std::lock_guard lock(mutex_);
        EXPECT_EQ(lent_.erase(connection), 1u);
        ++given_back_;
        good_ += good ? 1 : 0;
        if (good) {
            idle_.insert(connection);
        } else {
            close(connection);
        }
    }
    std::size_t lent() const {
        const std::lock_guard lock(mutex_);
        return lent_.size();
    }
    std::size_t most() const {
        const std::lock_guard lock(mutex_);
        return most_;
    }
    std::size_t opened() const {
        const std::lock_guard lock(mutex_);
        return opened_;
    }
    std::size_t good() const {
        const std::lock_guard lock(mutex_);
        return good_;
    }
    std::size_t given_back() const {
        const std::lock_guard lock(mutex_);
        return given_back_;
    }
    /// PostgreSQL: the processes of the server that serve what is lent, as the elements of an array.
    std::string processes() const {
        const std::lock_guard lock(mutex_);
        std::string list;
        for (void* connection : lent_)
            list +=
                (list.empty() ? "" : ", ") + std::to_string(PQbackendPID(static_cast<PGconn*>(connection)));
        return "ARRAY[" + list + "]::int[]";
    }
    int refusals_left() const {
        const std::lock_guard lock(mutex_);
        return refusals_;
    }
    void refuse(int times) {
        const std::lock_guard lock(mutex_);
        refusals_ = times;
    }
    /// What a connection says to a query, on every idle one.
    std::set<std::string> ask_all(const char* query) {
        const std::lock_guard lock(mutex_);
        std::set<std::string> answers;
        for (void* connection : idle_) answers.insert(ask(connection, query));
        return answers;
    }
    void run(void* connection, const char* statement) { ask(connection, statement); }

   private:
    void* open() {
        ++opened_;
        if (sqlite_) {
            sqlite3* handle = nullptr;
            EXPECT_EQ(sqlite3_open(path_.c_str(), &handle), SQLITE_OK);
            sqlite3_busy_timeout(handle, 1234);
            return handle;
        }
        PGconn* connection = PQconnectdb(url_.c_str());
        EXPECT_EQ(PQstatus(connection), CONNECTION_OK) << PQerrorMessage(connection);
        PQclear(PQexec(connection, "SET client_encoding TO 'UTF8'; SET enable_seqscan TO on"));
        return connection;
    }
    void close(void* connection) const {
        if (sqlite_) {
            sqlite3_close(static_cast<sqlite3*>(connection));
        } else {
            PQfinish(static_cast<PGconn*>(connection));
        }
    }
    std::string ask(void* connection, const char* query) const {
        std::string text;
        if (sqlite_) {
            char* error = nullptr;
            sqlite3_exec(
                static_cast<sqlite3*>(connection), query,
                [](void* to, int columns, char** values, char**) {
                    for (int i = 0; i < columns; ++i)
                        *static_cast<std::string*>(to) += values[i] ? values[i] : "";
                    return 0;
                },
                &text, &error);
            if (error) text = error;
            sqlite3_free(error);
            return text;
        }
        PGresult* result = PQexec(static_cast<PGconn*>(connection), query);
        if (PQresultStatus(result) == PGRES_FATAL_ERROR) text = PQresultErrorMessage(result);
        for (int row = 0; row < PQntuples(result); ++row) text += PQgetvalue(result, row, 0);
        PQclear(result);
        return text;
    }

    const bool sqlite_;
    const std::string url_, path_;
    mutable std::mutex mutex_;
    std::set<void*> idle_, lent_;
    std::size_t opened_ = 0, most_ = 0, good_ = 0, given_back_ = 0;
    int refusals_ = 0;
};

}  // namespace dbos::test
