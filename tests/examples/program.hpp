// The demo programs as a user runs them: processes that answer HTTP, on a database of their own, killed at any moment.
#pragma once

#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/types.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "sql/connection.hpp"
#include "support/database.hpp"

namespace dbos::test {

using Json = nlohmann::json;

/// A database that nobody else uses: a SQLite file, or a database on the server for tests, dropped at the end.
class ExampleDatabase {
   public:
    explicit ExampleDatabase(sql::Backend backend);
    ~ExampleDatabase();
    ExampleDatabase(const ExampleDatabase&) = delete;
    ExampleDatabase& operator=(const ExampleDatabase&) = delete;

    const std::string& url() const noexcept { return url_; }
    bool postgres() const noexcept { return !name_.empty(); }
    /// Where the programs may leave files.
    const std::filesystem::path& directory() const noexcept { return directory_.path(); }

    /// The rows of a query, columns separated by `|`. `@name` is a system table. Thread-safe.
    std::vector<std::string> rows(const std::string& query);
    std::string one(const std::string& query);
    void script(const std::string& text);
    /// From now on the record of each operation takes some 40 ms to write, so that whoever polls sees every one of them.
    void slow_down();
    /// After a kill: what the process was about to commit is not committed by the server in its place.
    void forget_the_dead();

   private:
    sql::OpenOptions options() const;
    sql::Connection& connection();

    TemporaryDirectory directory_;
    std::string name_;
    std::string url_;
    std::mutex mutex_;
    std::unique_ptr<sql::Connection> connection_;
};

/// A process of an example; killed with the object.
class Program {
   public:
    Program(std::string path, std::vector<std::string> arguments, std::filesystem::path log);
    ~Program() { kill(); }
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    void start();
    /// SIGKILL, and waits for the end.
    void kill();
    /// SIGTERM, and waits for the end. Whether it ended with code 0, or by the signal, which it may not have waited for yet.
    bool terminate();
    bool running();
    /// The exit code, or minus the signal, of a program that ends by itself.
    int wait();
    /// Waits until the program says that it listens; 0 if it says nothing.
    int wait_for_port();
    std::string output() const;

   private:
    std::string path_;
    std::vector<std::string> arguments_;
    std::filesystem::path log_;
    pid_t pid_ = -1;
};

/// Requests to a server that dies and comes back elsewhere.
class Http {
   public:
    struct Answer {
        int status = 0;
        std::string body = {};
        Json json() const { return Json::parse(body); }
    };
    void server_is_at(int port) { port_ = port; }
    /// One attempt; nullopt if the server is not there, or dies before it has answered.
    std::optional<Answer> try_get(const std::string& path) const;
    std::optional<Answer> try_post(const std::string& path, const std::string& body = {}) const;
    /// Again until there is an answer.
    Answer get(const std::string& path) const;
    Answer post(const std::string& path, const std::string& body = {}) const;

   private:
    std::atomic<int> port_ = 0;
};

/// Runs `script` against a program that is killed whenever another operation has been recorded in the database, and started
/// again, until the script has ended. The program then runs. Returns, for each workflow, after how many of its operations there was
/// a kill.
std::map<std::string, std::set<int>> kill_at_every_operation(ExampleDatabase& database, Program& program,
                                                             Http* http, const std::function<void()>& script);

/// Each recorded operation of each workflow was followed by a kill, but for the last ones, which nobody waits for. Of the others
/// three in ten may be missing: some are committed together, and a busy machine may look too late.
void expect_killed_everywhere(ExampleDatabase& database, const std::map<std::string, std::set<int>>& kills);

/// Runs the test on SQLite and on PostgreSQL at the same time: it waits more than it computes.
void on_every_database(const std::function<void(ExampleDatabase&)>& test);

/// The path of an example, and the arguments for a database and a free port.
std::string example(const std::string& folder, const std::string& program);
std::vector<std::string> serve_on(const ExampleDatabase& database);

}  // namespace dbos::test
