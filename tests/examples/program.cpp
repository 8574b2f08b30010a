#include "program.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "sql/open.hpp"

namespace dbos::test {

namespace {

constexpr int kSeconds = 60;  // longest time that anything may take

}  // namespace

ExampleDatabase::ExampleDatabase(sql::Backend backend) {
    if (backend == sql::Backend::sqlite) {
        url_ = "sqlite:///" + (directory_.path() / "example.sqlite").string();
        return;
    }
    name_ = "dbos_example_" + directory_.path().filename().string().substr(10);
    url_ = postgres_url().value();
    sql::OpenOptions server;
    server.url = sql::Url::parse(url_);
    sql::open(server)->query("CREATE DATABASE \"" + name_ + "\"", {}, sql::Access::write);
    url_.replace(url_.rfind('/') + 1, std::string::npos, name_);
}

ExampleDatabase::~ExampleDatabase() {
    connection_.reset();
    if (!postgres()) return;
    try {
        sql::OpenOptions server;
        server.url = sql::Url::parse(postgres_url().value());
        sql::open(server)->query("DROP DATABASE \"" + name_ + "\" WITH (FORCE)", {}, sql::Access::write);
    } catch (const std::exception& error) {
        ADD_FAILURE() << "the database of the test could not be dropped: " << error.what();
    }
}

sql::OpenOptions ExampleDatabase::options() const {
    sql::OpenOptions options;
    options.url = sql::Url::parse(url_);
    options.schema = "dbos";
    return options;
}

sql::Connection& ExampleDatabase::connection() {
    if (!connection_) connection_ = sql::open(options());
    return *connection_;
}

std::vector<std::string> ExampleDatabase::rows(const std::string& query) {
    const std::lock_guard lock(mutex_);
    const sql::Result result = connection().query(query);
    std::vector<std::string> lines;
    for (std::size_t row = 0; row < result.size(); ++row) {
        std::string line;
        for (std::size_t column = 0; column < result.columns(); ++column)
            line += (column ? "|" : "") + result.at(row, column).string();
        lines.push_back(line);
    }
    return lines;
}

std::string ExampleDatabase::one(const std::string& query) {
    const auto found = rows(query);
    return found.size() == 1 ? found[0] : "(" + std::to_string(found.size()) + " rows)";
}

void ExampleDatabase::script(const std::string& text) {
    const std::lock_guard lock(mutex_);
    connection().script(text);
}

void ExampleDatabase::slow_down() {
    if (postgres()) {
        script(
            "CREATE FUNCTION public.linger() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_sleep(0.04); RETURN NULL; END';"
            "CREATE TRIGGER linger AFTER INSERT ON @operation_outputs FOR EACH ROW EXECUTE FUNCTION "
            "public.linger()");
    } else {
        script(
            "CREATE TRIGGER linger AFTER INSERT ON operation_outputs BEGIN SELECT "
            "length(randomblob(8000000)); "
            "END");
    }
}

void ExampleDatabase::forget_the_dead() {
    if (!postgres()) return;
    rows(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND application_name LIKE 'dbos_cpp_%'");  // clients live on
}

Program::Program(std::string path, std::vector<std::string> arguments, std::filesystem::path log)
    : path_(std::move(path)), arguments_(std::move(arguments)), log_(std::move(log)) {}

void Program::start() {
    kill();
    std::vector<char*> argv = {path_.data()};
    for (auto& argument : arguments_) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const int out = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    pid_ = ::fork();
    if (pid_ == 0) {  // only what is safe in a fork of a process with threads
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::dup2(out, STDOUT_FILENO);
        ::dup2(out, STDERR_FILENO);
        ::execv(path_.c_str(), argv.data());
        ::_exit(127);
    }
    ::close(out);
    if (pid_ < 0) throw std::runtime_error("cannot fork");
}

void Program::kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
}

bool Program::terminate() {
    if (pid_ > 0) ::kill(pid_, SIGTERM);
    const int code = wait();
    return code == 0 || code == -SIGTERM;
}

int Program::wait() {
    int status = 0;
    if (pid_ <= 0 || ::waitpid(pid_, &status, 0) != pid_) return -1;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

bool Program::running() {
    siginfo_t info = {};
    return pid_ > 0 && ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

std::string Program::output() const {
    std::ostringstream text;
    text << std::ifstream(log_).rdbuf();
    return text.str();
}

int Program::wait_for_port() {
    const std::string mark = "Listening on http://127.0.0.1:";
    std::string text;
    std::size_t at = std::string::npos;
    eventually(
        [&] {
            const bool alive = running();
            text = output();
            at = text.find(mark);
            return !alive || (at != std::string::npos && text.find('\n', at) != std::string::npos);
        },
        kSeconds);
    if (at == std::string::npos) {
        ADD_FAILURE() << path_ << " does not listen; it says:\n" << text;
        return 0;
    }
    return std::stoi(text.substr(at + mark.size()));
}

namespace {

std::optional<Http::Answer> answer(const httplib::Result& result) {
    if (!result) return std::nullopt;
    return Http::Answer{result->status, result->body};
}

template <class Try>
Http::Answer insist(const std::string& path, Try attempt) {
    std::optional<Http::Answer> got;
    eventually([&] { return (got = attempt()).has_value(); }, kSeconds);
    if (!got) throw std::runtime_error("no answer to " + path);
    return *got;
}

}  // namespace

std::optional<Http::Answer> Http::try_get(const std::string& path) const {
    httplib::Client client("127.0.0.1", port_);
    client.set_read_timeout(kSeconds);
    return answer(client.Get(path));
}

std::optional<Http::Answer> Http::try_post(const std::string& path, const std::string& body) const {
    httplib::Client client("127.0.0.1", port_);
    client.set_read_timeout(kSeconds);
    return answer(client.Post(path, body, "application/json"));
}

Http::Answer Http::get(const std::string& path) const {
    return insist(path, [&] { return try_get(path); });
}

Http::Answer Http::post(const std::string& path, const std::string& body) const {
    return insist(path, [&] { return try_post(path, body); });
}

namespace {

std::map<std::string, int> recorded(ExampleDatabase& database) {
    std::map<std::string, int> counts;
    for (const auto& row :
         database.rows("SELECT workflow_uuid, count(*) FROM @operation_outputs GROUP BY workflow_uuid")) {
        const auto bar = row.rfind('|');
        counts[row.substr(0, bar)] = std::stoi(row.substr(bar + 1));
    }
    return counts;
}

}  // namespace

std::map<std::string, std::set<int>> kill_at_every_operation(ExampleDatabase& database, Program& program,
                                                             Http* http,
                                                             const std::function<void()>& script) {
    std::map<std::string, std::set<int>> kills;
    const auto start = [&] {
        if (!program.running()) program.start();
        if (http) http->server_is_at(program.wait_for_port());
    };
    start();
    std::map<std::string, int> seen;
    std::atomic<bool> done = false;
    std::thread driver([&] {
        try {
            script();
        } catch (const std::exception& error) {
            ADD_FAILURE() << "the script ended with: " << error.what();
        }
        done = true;
    });
    while (!done) {
        auto now = seen;
        eventually([&] { return done || !program.running() || (now = recorded(database)) != seen; },
                   kSeconds);
        if (done) break;
        program.kill();
        database.forget_the_dead();
        for (const auto& [workflow, count] : now) {
            if (count != seen[workflow]) kills[workflow].insert(count);
        }
        seen = std::move(now);
        start();
    }
    driver.join();
    return kills;
}

void expect_killed_everywhere(ExampleDatabase& database, const std::map<std::string, std::set<int>>& kills) {
    int places = 0, killed = 0;
    std::string missing;
    for (const auto& [workflow, count] : recorded(database)) {
        const auto found = kills.find(workflow);
        for (int i = 1; i < count; ++i) {
            ++places;
            if (found != kills.end() && found->second.contains(i)) {
                ++killed;
            } else {
                missing += "\n" + workflow + " after " + std::to_string(i) + " of " + std::to_string(count);
            }
        }
    }
    EXPECT_GT(killed, 0);
    EXPECT_GE(killed * 10, places * 7) << "not killed:" << missing;
}

void on_every_database(const std::function<void(ExampleDatabase&)>& test) {
    const auto on = [&test](sql::Backend backend) {
        const testing::ScopedTrace trace(__FILE__, __LINE__,
                                         backend == sql::Backend::sqlite ? "SQLite" : "PostgreSQL");
        try {
            ExampleDatabase database(backend);
            test(database);
        } catch (const std::exception& error) {
            ADD_FAILURE() << error.what();
        }
    };
    std::thread sqlite(on, sql::Backend::sqlite);
    if (postgres_url()) on(sql::Backend::postgres);
    sqlite.join();
    need_postgres();
}

std::string example(const std::string& folder, const std::string& program) {
    return std::string(DBOS_EXAMPLES) + "/" + folder + "/" + program;
}

std::vector<std::string> serve_on(const ExampleDatabase& database) {
    return {"--db", database.url(), "--port", "0"};
}

}  // namespace dbos::test
