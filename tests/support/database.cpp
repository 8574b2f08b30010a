#include "support/database.hpp"

#include <stdlib.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace dbos::test {

namespace {

std::string random_name(const std::string& prefix) {
    constexpr char kHex[] = "0123456789abcdef";
    std::string name = prefix;
    for (std::uint64_t bits = seam::random_u64(), i = 0; i < 16; ++i, bits >>= 4) name += kHex[bits & 15];
    return name;
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dbos-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
        throw std::system_error(errno, std::generic_category(), "mkdtemp");
    path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::optional<std::string> postgres_url() {
    const char* url = std::getenv("DBOS_TEST_POSTGRES_URL");
    if (url == nullptr || *url == '\0') return std::nullopt;
    return url;
}

TestDatabase::TestDatabase(sql::Backend backend) {
    if (backend == sql::Backend::sqlite) {
        url_ = "sqlite:///" + (directory_.path() / "test.sqlite").string();
    } else {
        url_ = postgres_url().value();
        options_.schema = random_name("dbos_test_");
    }
    options_.url = sql::Url::parse(url_);
    if (backend == sql::Backend::postgres)
        sql::open(options_)->script("CREATE SCHEMA \"" + options_.schema + "\"");
}

TestDatabase::~TestDatabase() {
    if (options_.url.backend != sql::Backend::postgres) return;
    try {
        // A connection that a failed test left behind in a transaction must not hold up the others.
        sql::open(options_)->script("SET lock_timeout = '10s'; DROP SCHEMA IF EXISTS \"" + options_.schema +
                                    "\" CASCADE");
    } catch (const std::exception& error) {
        ADD_FAILURE() << "the schema of the test could not be dropped: " << error.what();
    }
}

bool need_postgres() {
    if (postgres_url()) return true;
    const char* required = std::getenv("DBOS_TEST_REQUIRE_POSTGRES");
    if (required != nullptr && std::string_view(required) == "1") {
        ADD_FAILURE() << "DBOS_TEST_POSTGRES_URL is not set, but DBOS_TEST_REQUIRE_POSTGRES=1";
    } else {
        [] {
            GTEST_SKIP() << "no PostgreSQL: set DBOS_TEST_POSTGRES_URL, or run under scripts/with-postgres";
        }();
    }
    return false;
}

void DatabaseTest::SetUp() {
    if (GetParam() == sql::Backend::postgres && !need_postgres()) return;
    database_ = std::make_unique<TestDatabase>(GetParam());
}

std::string backend_name(const ::testing::TestParamInfo<sql::Backend>& info) {
    return info.param == sql::Backend::postgres ? "postgres" : "sqlite";
}

}  // namespace dbos::test
