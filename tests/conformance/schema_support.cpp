#include "schema_support.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace dbos::schema_test {
namespace {

std::string server_url() {
    const char* url = std::getenv("DBOS_TEST_POSTGRES_URL");
    return url == nullptr ? "" : url;
}

std::string url_of(const std::string& database, const std::string& role) {
    std::string url = server_url();
    const std::size_t query = std::min(url.find('?'), url.size());
    const std::size_t slash = url.rfind('/', query);
    url = url.substr(0, slash + 1) + database + url.substr(query);
    if (role.empty()) return url;
    const std::size_t start = url.find("://") + 3;
    const std::size_t at = url.find('@', start);
    return url.substr(0, start) + role + (at == std::string::npos ? "@" + url.substr(start) : url.substr(at));
}

sql::OpenOptions options_of(const std::string& url, const std::string& schema = "dbos") {
    sql::OpenOptions options;
    options.url = sql::Url::parse(url);
    options.schema = schema;
    return options;
}

int next_number() {
    static std::atomic<int> number{0};
    return ++number;
}

}  // namespace

Json schema_vector(const std::string& name) {
    std::ifstream in(std::string(DBOS_TEST_VECTORS) + "/schema/" + name);
    if (!in) throw std::runtime_error("no vector file " + name);
    return Json::parse(in);
}

bool PostgresDatabase::available() {
    if (!server_url().empty()) return true;
    const char* required = std::getenv("DBOS_TEST_REQUIRE_POSTGRES");
    if (required != nullptr && std::string(required) == "1") {
        ADD_FAILURE() << "DBOS_TEST_REQUIRE_POSTGRES=1, and DBOS_TEST_POSTGRES_URL is not set";
    }
    return false;
}

PostgresDatabase::PostgresDatabase(const std::string& copy_of)
    : name_("schema_" + std::to_string(::getpid()) + "_" + std::to_string(next_number())) {
    sql::open(options_of(server_url()))
        ->script("CREATE DATABASE " + name_ + (copy_of.empty() ? std::string() : " TEMPLATE " + copy_of));
}

PostgresDatabase::~PostgresDatabase() {
    try {
        sql::open(options_of(server_url()))->script("DROP DATABASE IF EXISTS " + name_ + " WITH (FORCE)");
    } catch (const std::exception& error) {
        ADD_FAILURE() << "cannot drop " << name_ << ": " << error.what();
    }
}

std::string PostgresDatabase::url(const std::string& role) const { return url_of(name_, role); }

sql::OpenOptions PostgresDatabase::options(const std::string& schema, const std::string& role) const {
    return options_of(url(role), schema);
}

std::unique_ptr<sql::Connection> PostgresDatabase::connect(const std::string& schema,
                                                           const std::string& role) const {
    return sql::open(options(schema, role));
}

SqliteFile::SqliteFile()
    : path_((std::filesystem::temp_directory_path() /
             ("dbos_schema_" + std::to_string(::getpid()) + "_" + std::to_string(next_number()) + ".sqlite"))
                .string()) {}

SqliteFile::~SqliteFile() {
    for (const char* suffix : {"", "-wal", "-shm", "-journal", "-dbos-wake", "-dbos-turn"}) {
        std::error_code ignored;
        std::filesystem::remove(path_ + suffix, ignored);
    }
}

sql::OpenOptions SqliteFile::options() const { return options_of("sqlite:///" + path_); }
std::unique_ptr<sql::Connection> SqliteFile::connect() const { return sql::open(options()); }

std::string scalar(sql::Connection& connection, const std::string& text) {
    const sql::Result row = connection.query(text);
    return row.empty() ? "" : row.at(0, 0).string();
}

sysdb::MigrateOptions quick(std::vector<std::string>* log) {
    sysdb::MigrateOptions options;
    options.peer_quiet = seam::Duration(0);
    if (log != nullptr) {
        options.log = [log](const LogRecord& record) { log->push_back(to_logfmt(record)); };
    }
    return options;
}

}  // namespace dbos::schema_test
