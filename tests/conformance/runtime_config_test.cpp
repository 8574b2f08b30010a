// Options of an application: defaults, precedence, refusals (runtime_cases.list).
#include <cstdlib>
#include <functional>
#include <regex>

#include "support/app.hpp"

using namespace std::chrono_literals;

namespace {

inline constexpr auto Job = dbos::workflow<int(int)>("job");

class AppConfig : public dbos::test::AppTest {
   public:
    /// An environment variable for the length of a test.
    struct Variable {
        Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
        ~Variable() { ::unsetenv(name_); }
        Variable(const Variable&) = delete;
        Variable& operator=(const Variable&) = delete;

       private:
        const char* name_;
    };
};
DBOS_FOR_EVERY_DATABASE(AppConfig);

TEST_P(AppConfig, identities_come_from_options_then_the_environment_then_a_default) {
    const auto identity = [&](dbos::AppOptions options) {
        dbos::App app(std::move(options));
        app.implement(Job, [](dbos::Context&, int n) { return n; });
        app.launch();
        auto handle = app.start_workflow(Job, {}, 1);
        handle.get_result({.timeout = 20s});
        const auto status = handle.get_status();
        EXPECT_EQ(status.app_version, app.application_version());
        EXPECT_EQ(status.executor_id, app.executor_id());
        return app.application_version() + " " + app.executor_id();
    };
    auto given = app_options();
    given.application_version = "v2";
    given.executor_id = "option";
    const std::string first = identity(app_options()), second = identity(app_options());
    EXPECT_TRUE(first.starts_with("test-app-1 ")) << first;
    EXPECT_NE(first, second) << "executor ids are unique unless they are given";
    const Variable version("DBOS__APPVERSION", "v-env"), executor("DBOS__VMID", "environment");
    EXPECT_EQ(identity(app_options()), "v-env environment");
    EXPECT_EQ(identity(given), "v2 option");
}

TEST_P(AppConfig, options_that_make_no_sense_are_refused_by_the_constructor) {
    using Options = dbos::AppOptions;
    const std::vector<std::pair<std::string, std::function<void(Options&)>>> wrong{
        {"name", [](Options& o) { o.name = " "; }},
        {"system_database_url", [](Options& o) { o.system_database_url = "mysql://localhost/x"; }},
        {"schema", [](Options& o) { o.dbos_system_schema = " "; }},
        {"pool", [](Options& o) { o.system_database_pool_size = 0; }},
        {"query_timeout", [](Options& o) { o.observability_query_timeout = -1s; }},
        {"lease", [](Options& o) { o.lease_duration = o.lease_renewal; }},
        {"lease", [](Options& o) { o.lease_renewal = 0s; }},
        {"park_after", [](Options& o) { o.park_after = -1s; }},
        {"max_threads", [](Options& o) { o.max_threads = -1; }},
        {"max_running", [](Options& o) { o.max_running = -1; }},
        {"executor_id", [](Options& o) { o.executor_id = std::string("a\0b", 3); }},
    };
    for (const auto& [what, change] : wrong) {
        auto options = app_options();
        change(options);
        try {
            dbos::App app(options);
            ADD_FAILURE() << what << ": nothing was thrown";
        } catch (const dbos::ConfigError& error) {
            if (what != "system_database_url") {
                EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
            }
        }
    }
}

TEST_P(AppConfig, queues_that_make_no_sense_are_refused) {
    dbos::App app(app_options());
    const auto refused = [&](dbos::QueueOptions options) {
        EXPECT_THROW(app.register_queue(options), dbos::UsageError) << options.name;
    };
    refused({.name = ""});
    refused({.name = "_dbos_internal_queue"});
    refused({.name = "_dbos_other"});
    refused({.name = "q", .worker_concurrency = -1});
    refused({.name = "q", .concurrency = 0});
    refused({.name = "q", .worker_concurrency = 3, .concurrency = 2});
    refused({.name = "q", .polling_interval = 0s});
    app.register_queue({.name = "q", .worker_concurrency = 2, .concurrency = 3});
    app.launch();
    EXPECT_EQ(scalar("SELECT count(*) FROM @queues"), "1");
}

TEST_P(AppConfig, the_default_database_is_a_file_beside_the_program) {
    if (postgres()) return;
    const dbos::test::TemporaryDirectory directory;
    const auto before = std::filesystem::current_path();
    std::filesystem::current_path(directory.path());
    {
        dbos::App app({.name = "shop", .log_sink = log.sink()});
        app.launch();
    }
    std::filesystem::current_path(before);
    EXPECT_TRUE(std::filesystem::exists(directory.path() / "shop.sqlite"));
}

}  // namespace
