// A database of its own for each test, on every back end.
//
//   class Streams : public dbos::test::DatabaseTest {};
//   DBOS_FOR_EVERY_DATABASE(Streams);
//   TEST_P(Streams, keep_their_order) { auto connection = open(); … }
//
// SQLite: a file in a temporary directory. PostgreSQL: a schema of its own on the server of DBOS_TEST_POSTGRES_URL, dropped
// afterwards; without the variable the test is skipped, or fails if DBOS_TEST_REQUIRE_POSTGRES=1.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sql/connection.hpp"

namespace dbos::test {

/// A directory that goes with the object.
class TemporaryDirectory {
   public:
    TemporaryDirectory();
    ~TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    const std::filesystem::path& path() const noexcept { return path_; }

   private:
    std::filesystem::path path_;
};

/// The server for tests; nullopt if there is none.
std::optional<std::string> postgres_url();

/// One empty database: a file, or a schema (created) that is dropped at the end.
class TestDatabase {
   public:
    explicit TestDatabase(sql::Backend backend);
    ~TestDatabase();
    TestDatabase(const TestDatabase&) = delete;
    TestDatabase& operator=(const TestDatabase&) = delete;
    const sql::OpenOptions& options() const noexcept { return options_; }
    /// The connection string.
    const std::string& url() const noexcept { return url_; }
    const std::string& schema() const noexcept { return options_.schema; }

   private:
    TemporaryDirectory directory_;
    std::string url_;
    sql::OpenOptions options_;
};

/// Base of parameterised tests. `database()` is ready in SetUp.
class DatabaseTest : public ::testing::TestWithParam<sql::Backend> {
   public:
    void SetUp() override;
    void TearDown() override { database_.reset(); }

    bool postgres() const { return GetParam() == sql::Backend::postgres; }
    TestDatabase& database() { return *database_; }
    const sql::OpenOptions& options() const { return database_->options(); }
    std::unique_ptr<sql::Connection> open() { return sql::open(options()); }

   private:
    std::unique_ptr<TestDatabase> database_;
};

/// Skips (or fails, see above) the calling test if there is no server. Returns whether there is one.
bool need_postgres();

std::string backend_name(const ::testing::TestParamInfo<sql::Backend>& info);

/// Polls `condition` until it holds or `seconds` have passed; for what another process or the server does in its own time.
template <class Condition>
bool eventually(Condition condition, int seconds = 20) {
    const auto end = seam::steady_now() + std::chrono::seconds(seconds);
    while (!condition()) {
        if (seam::steady_now() > end) return false;
        seam::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

}  // namespace dbos::test

#define DBOS_FOR_EVERY_DATABASE(Suite)                                                                    \
    INSTANTIATE_TEST_SUITE_P(Every, Suite,                                                                \
                             ::testing::Values(dbos::sql::Backend::sqlite, dbos::sql::Backend::postgres), \
                             dbos::test::backend_name)
