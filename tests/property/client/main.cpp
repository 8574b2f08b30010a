// dbos_client_property [--operations N] [--seed S] [--only sqlite|postgres]: two processes with a client each make random calls
// on one database, and compare every answer and every row with a model. On SQLite, and on PostgreSQL if there is a server
// (DBOS_TEST_POSTGRES_URL). The seed decides all calls of a process on rows of its own; a divergence names it.
#include <charconv>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "property/client/run.hpp"
#include "support/database.hpp"
#include "support/process.hpp"
#include "sysdb/schema/migrate.hpp"

namespace dbos::property {
namespace {

constexpr int kProcesses = 2;

std::uint64_t number(const std::string& option, const std::string& text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
        throw std::invalid_argument(option + " takes a whole number, got \"" + text + "\"");
    return value;
}

/// --child URL SCHEMA SEED PROCESS OPERATIONS REPORT
int child(const std::vector<std::string>& arguments) {
    Settings settings;
    settings.url = arguments.at(1);
    settings.schema = arguments.at(2);
    settings.seed = number("SEED", arguments.at(3));
    settings.process = static_cast<int>(number("PROCESS", arguments.at(4)));
    settings.operations = number("OPERATIONS", arguments.at(5));
    Run run(settings);
    const std::uint64_t divergences = run.run();
    std::ofstream(arguments.at(6)) << "divergences\t" << divergences << "\n" << run.shared_report();
    return divergences == 0 ? 0 : 1;
}

void prepare(test::TestDatabase& database) {
    sysdb::migrate(database.options());
    std::string text;
    int at = 0;
    const auto version = [&](const std::string& name, const std::string& application) {
        ++at;
        text +=
            "INSERT INTO @application_versions (version_id, version_name, version_timestamp, created_at, "
            "application_name) VALUES ('" +
            name + "', '" + name + "', " + std::to_string(at) + ", " + std::to_string(at) + ", '" +
            application + "');";
    };
    for (int process = 0; process < kProcesses; ++process) {
        const std::string n = std::to_string(process);
        for (const char* name : {"-v1", "-v2", "-v3"}) version("p" + n + name, "app-" + n);
    }
    for (const char* name : {"shared-1", "shared-2", "shared-3"}) version(name, "shared");
    sql::open(database.options())->script(text);
}

/// What both processes have counted, against what is there.
class SharedRows {
   public:
    explicit SharedRows(const test::TestDatabase& database) : connection_(sql::open(database.options())) {}
    void add(const std::string& name, std::uint64_t count) {
        auto& sum = counts_[name];
        // A key counts once, whoever sent it; an attribute has its last value.
        sum = name.starts_with("key ") || name.starts_with("attribute ") ? std::max(sum, count) : sum + count;
    }
    std::uint64_t divergences() {
        std::uint64_t wrong = 0;
        const auto expect = [&](const std::string& what, std::uint64_t expected, const std::string& query) {
            const std::int64_t got = connection_->query(query).at(0, 0).integer();
            if (static_cast<std::int64_t>(expected) == got) return;
            std::fprintf(stderr, "divergence: %s: expected %llu, got %lld\n", what.c_str(),
                         static_cast<unsigned long long>(expected), static_cast<long long>(got));
            ++wrong;
        };
        expect("claimed ids", counts_["claimed ids"],
               "SELECT count(*) FROM @workflow_status WHERE workflow_uuid LIKE 'c-%'");
        expect("payloads of claimed ids", counts_["claimed ids"],
               "SELECT count(*) FROM @workflow_input WHERE workflow_uuid LIKE 'c-%'");
        expect("holders", counts_["holders"],
               "SELECT count(*) FROM @workflow_status WHERE name = 'shared-dedup'");
        expect("forks", counts_["forks"],
               "SELECT count(*) FROM @workflow_status WHERE forked_from LIKE 's-%'");
        expect("unkeyed messages", counts_["unkeyed messages"],
               "SELECT count(*) FROM @notifications WHERE destination_uuid LIKE 's-%' AND message_uuid NOT "
               "LIKE 'sk%'");
        std::uint64_t keys = 0;
        for (const auto& [name, n] : counts_) {
            if (name.starts_with("key ")) {
                ++keys;
                expect(name, 1,
                       "SELECT count(*) FROM @notifications WHERE message_uuid = " + literal(name.substr(4)));
            } else if (name.starts_with("attribute ")) {
                const std::string id = name.substr(10, name.rfind(' ') - 10),
                                  key = name.substr(name.rfind(' ') + 1);
                const bool postgres = connection_->backend() == sql::Backend::postgres;
                expect(name, n,
                       "SELECT " +
                           (postgres ? "(attributes ->> '" + key + "')::bigint"
                                     : "json_extract(attributes, '$." + key + "')") +
                           " FROM @workflow_status WHERE workflow_uuid = " + literal(id));
            }
        }
        expect("messages with a key", keys,
               "SELECT count(*) FROM @notifications WHERE message_uuid LIKE 'sk%'");
        expect("instants of promotions", 9,
               "SELECT count(DISTINCT version_timestamp) FROM @application_versions");
        expect("rows without a payload", 0,
               "SELECT count(*) FROM @workflow_status WHERE workflow_uuid NOT IN (SELECT workflow_uuid FROM "
               "@workflow_input)");
        expect("payloads without a row", 0,
               "SELECT count(*) FROM @workflow_input WHERE workflow_uuid NOT IN (SELECT workflow_uuid FROM "
               "@workflow_status)");
        expect("rows with a status that does not exist", 0,
               "SELECT count(*) FROM @workflow_status WHERE status NOT IN ('ENQUEUED', 'DELAYED', 'PENDING', "
               "'SUCCESS', "
               "'ERROR', 'CANCELLED')");
        return wrong;
    }

   private:
    std::unique_ptr<sql::Connection> connection_;
    std::map<std::string, std::uint64_t> counts_;
};

std::uint64_t play(sql::Backend backend, std::uint64_t operations, std::uint64_t seed) {
    test::TestDatabase database(backend);
    prepare(database);
    const test::TemporaryDirectory reports;
    std::vector<test::Process> children;
    std::vector<std::string> files;
    for (int process = 0; process < kProcesses; ++process) {
        files.push_back((reports.path() / std::to_string(process)).string());
        children.emplace_back(std::vector<std::string>{
            "--child", database.url(), database.schema(), std::to_string(seed), std::to_string(process),
            std::to_string(operations / kProcesses), files.back()});
    }
    std::uint64_t divergences = 0;
    SharedRows shared(database);
    for (int process = 0; process < kProcesses; ++process) {
        const auto n = static_cast<std::size_t>(process);
        const int code = children[n].reap();
        std::ifstream report(files[n]);
        if (code != 0 && !report) {
            std::fprintf(stderr, "divergence: process %d ended with %d\n", process, code);
            ++divergences;
        }
        for (std::string line; std::getline(report, line);) {
            const std::string name = line.substr(0, line.find('\t'));
            const std::uint64_t count = number(name, line.substr(line.find('\t') + 1));
            if (name == "divergences") {
                divergences += count;
            } else {
                shared.add(name, count);
            }
        }
    }
    divergences += shared.divergences();
    std::printf("property: %llu operations, %d processes, seed %llu, %llu divergences (%s)\n",
                static_cast<unsigned long long>(operations), kProcesses,
                static_cast<unsigned long long>(seed), static_cast<unsigned long long>(divergences),
                backend == sql::Backend::sqlite ? "sqlite" : "postgres");
    std::fflush(stdout);
    return divergences;
}

int run(const std::vector<std::string>& arguments) {
    std::uint64_t operations = 2000, seed = 1;
    std::string only;
    for (std::size_t n = 0; n + 1 < arguments.size(); n += 2) {
        if (arguments[n] == "--operations") {
            operations = number(arguments[n], arguments[n + 1]);
        } else if (arguments[n] == "--seed") {
            seed = number(arguments[n], arguments[n + 1]);
        } else if (arguments[n] == "--only") {
            only = arguments[n + 1];
        } else {
            throw std::invalid_argument(
                "usage: dbos_client_property [--operations N] [--seed S] [--only sqlite|postgres]");
        }
    }
    std::uint64_t divergences = 0;
    if (only != "postgres") divergences += play(sql::Backend::sqlite, operations, seed);
    if (only != "sqlite") {
        if (test::postgres_url()) {
            divergences += play(sql::Backend::postgres, operations, seed);
        } else if (const char* required = std::getenv("DBOS_TEST_REQUIRE_POSTGRES");
                   required && *required == '1') {
            throw std::runtime_error("DBOS_TEST_POSTGRES_URL is not set, but DBOS_TEST_REQUIRE_POSTGRES=1");
        } else {
            std::puts(
                "property: PostgreSQL left out: set DBOS_TEST_POSTGRES_URL, or run under "
                "scripts/with-postgres");
        }
    }
    return divergences == 0 ? 0 : 1;
}

}  // namespace
}  // namespace dbos::property

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    try {
        if (!arguments.empty() && arguments[0] == "--child") return dbos::property::child(arguments);
        return dbos::property::run(arguments);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "dbos_client_property: %s\n", error.what());
        return 2;
    }
}
