// A launch that may not do what it needs: one clear sentence, and nothing is written (safety 28).
#include <fstream>
#include <iterator>

#include "runtime/app_impl.hpp"
#include "support/app.hpp"
#include "support/faulty_connection.hpp"
#include "support/proxy.hpp"

using namespace std::chrono_literals;

namespace {

inline constexpr auto Job = dbos::workflow<int(int)>("job");

class Launch : public dbos::test::AppTest {
   public:
    /// What launch() refuses with; empty if it does not. The App can be destroyed afterwards, and refuses to be used.
    std::string refusal(const dbos::AppOptions& options) {
        dbos::App app(options);
        app.implement(Job, [](dbos::Context&, int n) { return n; });
        app.register_queue({.name = "q"});
        std::string text;
        try {
            app.launch();
        } catch (const dbos::ConfigError& error) {
            text = error.what();
        } catch (const dbos::Error& error) {
            text = error.what();
        }
        if (!text.empty()) {
            EXPECT_THROW(app.start_workflow(Job, {}, 1), dbos::UsageError);
            EXPECT_TRUE(app.shutdown().empty());
        }
        return text;
    }
};
DBOS_FOR_EVERY_DATABASE(Launch);

TEST_P(Launch, without_migrations_on_an_empty_database_is_refused) {
    dbos::AppOptions options = app_options();
    options.run_migrations = false;
    const auto text = refusal(options);
    EXPECT_NE(text.find("not initialised"), std::string::npos) << text;
    EXPECT_NE(text.find("run_migrations"), std::string::npos) << text;
}

TEST_P(Launch, without_the_table_of_executors_names_the_sql_to_run) {
    {
        dbos::App creator(app_options());
        creator.launch();
    }
    execute("DROP TABLE @dbos_cpp_executors");
    dbos::AppOptions options = app_options();
    options.run_migrations = false;
    const auto text = refusal(options);
    EXPECT_NE(text.find("dbos_cpp_executors"), std::string::npos) << text;
    EXPECT_NE(text.find("CREATE TABLE"), std::string::npos) << text;
    EXPECT_EQ(refusal(app_options()), "");  // with migrations it makes it
}

TEST_P(Launch, below_the_version_that_fences_is_refused) {
    {
        dbos::App creator(app_options());
        creator.launch();
    }
    execute("UPDATE @dbos_migrations SET version = 122");
    execute("ALTER TABLE @workflow_status DROP COLUMN creator_xid");
    dbos::AppOptions options = app_options();
    options.run_migrations = false;
    const auto text = refusal(options);
    EXPECT_NE(text.find("122"), std::string::npos) << text;
    EXPECT_NE(text.find("123"), std::string::npos) << text;
}

TEST_P(Launch, a_database_out_of_reach_is_told_at_once_where_nothing_is_to_be_tried_again) {
    dbos::AppOptions options = app_options();
    options.retry_connection_errors = false;
    options.system_database_url =
        postgres() ? "postgresql://nobody@127.0.0.1:1/nowhere" : "sqlite:////proc/no-such-directory/x.sqlite";
    const auto text = refusal(options);
    EXPECT_NE(text, "");
    EXPECT_NE(text.find(postgres() ? "127.0.0.1" : "no-such-directory"), std::string::npos) << text;
}

/// A launch over connections that the test breaks.
class LaunchFaults : public Launch {
   public:
    /// Launches with all connections of the pool, which migrate, through `faults`.
    void launch(dbos::App& app, const std::function<void(dbos::sysdb::DatabaseOptions&)>& change) {
        app.impl().executor.instrument({.database = change, .launch_patience = patience});
        app.implement(Job, [](dbos::Context&, int n) { return n; });
        app.launch();
    }
    dbos::seam::Duration patience = 30s;
};
DBOS_FOR_EVERY_DATABASE(LaunchFaults);

TEST_P(LaunchFaults, lost_connections_are_made_again) {
    auto faults = std::make_shared<dbos::test::Faults>();
    // The first migration is undone, the second one commits and nobody hears of it.
    faults->next({dbos::test::Fault::drop, dbos::test::Fault::lose_ack});
    dbos::App app(app_options());
    launch(app, [&](dbos::sysdb::DatabaseOptions& database) {
        database.open.decorate = dbos::test::FaultyConnection::wrap(faults);
    });
    EXPECT_EQ(log.count("launch: the database cannot be reached; it is tried again"), 2) << log.text();
    EXPECT_GE(faults->commits(), 2);
    EXPECT_EQ(app.start_workflow(Job, {}, 4).get_result({.timeout = 20s}), 4);
}

TEST_P(LaunchFaults, give_up_after_a_while_with_the_error_itself) {
    auto faults = std::make_shared<dbos::test::Faults>();
    faults->always(dbos::test::Fault::drop);
    patience = 500ms;
    dbos::App app(app_options());
    try {
        launch(app, [&](dbos::sysdb::DatabaseOptions& database) {
            database.open.decorate = dbos::test::FaultyConnection::wrap(faults);
        });
        ADD_FAILURE() << "launched";
    } catch (const dbos::DatabaseError& error) {
        EXPECT_EQ(error.kind(), dbos::DatabaseErrorKind::connection);
        EXPECT_STREQ(error.what(), "acknowledgement lost by the test");
    }
    EXPECT_GE(faults->commits(), 2);
    EXPECT_EQ(log.count("it is tried again"), faults->commits() - 1);
}

TEST_P(LaunchFaults, are_not_tried_again_if_the_program_says_so) {
    auto faults = std::make_shared<dbos::test::Faults>();
    faults->next({dbos::test::Fault::drop});
    dbos::AppOptions options = app_options();
    options.retry_connection_errors = false;
    dbos::App app(options);
    EXPECT_THROW(launch(app,
                        [&](dbos::sysdb::DatabaseOptions& database) {
                            database.open.decorate = dbos::test::FaultyConnection::wrap(faults);
                        }),
                 dbos::DatabaseError);
    EXPECT_EQ(faults->commits(), 1);
}

TEST_P(LaunchFaults, a_server_that_comes_back_is_waited_for) {
    if (!postgres()) GTEST_SKIP() << "a file is there or not";
    const auto port_of = [](const std::string& url) {
        const auto colon = url.rfind(':');
        return static_cast<std::uint16_t>(std::stoi(url.substr(colon + 1)));
    };
    const std::string url = database().url();
    dbos::test::Proxy proxy(port_of(url));
    proxy.set(dbos::test::Proxy::Mode::refuse);
    dbos::AppOptions options = app_options();
    const auto at = url.rfind(':');
    options.system_database_url = url.substr(0, at + 1) + std::to_string(proxy.port()) +
                                  url.substr(url.find_first_not_of("0123456789", at + 1));
    options.log_sink = [sink = log.sink(), &proxy](const dbos::LogRecord& record) {
        sink(record);
        if (std::string_view(record.message).starts_with("launch: the database cannot be reached"))
            proxy.set(dbos::test::Proxy::Mode::pass);
    };
    dbos::App app(options);
    launch(app, {});
    EXPECT_GE(log.count("launch: the database cannot be reached"), 1);
    EXPECT_EQ(app.start_workflow(Job, {}, 4).get_result({.timeout = 20s}), 4);
}

TEST_P(LaunchFaults, mistakes_are_told_at_once) {
    const auto told = [&](const std::string& url) {
        dbos::AppOptions options = app_options();
        options.system_database_url = url;
        const std::string text = refusal(options);
        EXPECT_NE(text, "") << url;
        return text;
    };
    if (postgres()) {
        told("postgresql://nobody@no-such-host.invalid:5432/nowhere");
        const std::string url = database().url();
        told("postgresql://nobody-of-this-name" + url.substr(url.find('@')));
        told("postgresql://dbos_password:wrong" + url.substr(url.find('@')));
    } else {
        told("sqlite:////proc/no-such-directory/x.sqlite");
    }
    EXPECT_EQ(log.count("it is tried again"), 0) << log.text();
}

TEST_P(Launch, a_file_that_is_no_database_is_left_as_it_is) {
    if (postgres()) GTEST_SKIP() << "a file";
    dbos::test::TemporaryDirectory directory;
    const auto path = directory.path() / "letter.txt";
    const std::string letter(5000, 'x');
    {
        std::ofstream out(path);
        out << letter;
    }
    dbos::AppOptions options = app_options();
    options.system_database_url = "sqlite:///" + path.string();
    const auto text = refusal(options);
    EXPECT_NE(text.find("letter.txt"), std::string::npos) << text;
    std::ifstream in(path);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), letter);
}

/// A role of its own, with the rights that a test gives it.
class LaunchRole : public Launch {
   public:
    void SetUp() override {
        Launch::SetUp();
        if (IsSkipped()) return;
        role = "role" + database().schema();
        open()->script("CREATE ROLE " + role + " LOGIN");
    }
    void TearDown() override {
        if (!role.empty()) open()->script("DROP OWNED BY " + role + "; DROP ROLE " + role);
        Launch::TearDown();
    }
    void create() {
        dbos::App creator(app_options());
        creator.launch();
    }
    dbos::AppOptions role_options() {
        dbos::AppOptions options = app_options();
        const std::string url = database().url();
        const auto at = url.find('@');
        options.system_database_url = "postgresql://" + role + url.substr(at);
        options.retry_connection_errors = false;
        return options;
    }
    /// Everything that a launch could have written.
    std::string rows() {
        return scalar(
            "SELECT concat_ws(',', (SELECT count(*) FROM @dbos_cpp_executors), (SELECT "
            "string_agg(version_name, "
            "'+' ORDER BY version_name) FROM @application_versions), (SELECT count(*) FROM @queues), (SELECT "
            "string_agg(version::text, '+') FROM @dbos_migrations))");
    }
    std::string tables() {
        return scalar(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = "
            "'" +
            database().schema() + "'");
    }
    std::string quoted_schema() { return "\"" + database().schema() + "\""; }
    void grant(const std::string& what) { open()->script("GRANT " + what + " TO " + role); }
    std::string role;
};
INSTANTIATE_TEST_SUITE_P(Every, LaunchRole, testing::Values(dbos::sql::Backend::postgres),
                         dbos::test::backend_name);

TEST_P(LaunchRole, that_may_nothing_is_told_what_to_grant_and_writes_nothing) {
    create();
    const auto before = rows();
    const auto tables_before = tables();
    for (const bool migrations : {true, false}) {
        dbos::AppOptions options = role_options();
        options.run_migrations = migrations;
        options.application_version = "v-refused";
        const auto text = refusal(options);
        EXPECT_NE(text.find("GRANT USAGE ON SCHEMA " + quoted_schema()), std::string::npos) << text;
        EXPECT_NE(text.find(role), std::string::npos) << text;
    }
    EXPECT_EQ(rows(), before);
    EXPECT_EQ(tables(), tables_before);
}

TEST_P(LaunchRole, that_may_only_enter_the_schema) {
    create();
    grant("USAGE ON SCHEMA " + quoted_schema());
    const auto before = rows();
    for (const bool migrations : {true, false}) {
        dbos::AppOptions options = role_options();
        options.run_migrations = migrations;
        options.application_version = "v-refused";
        const auto text = refusal(options);
        EXPECT_NE(text.find("GRANT SELECT"), std::string::npos) << text;
        EXPECT_NE(text.find(role), std::string::npos) << text;
    }
    EXPECT_EQ(rows(), before);
}

TEST_P(LaunchRole, that_may_only_read) {
    create();
    grant("USAGE ON SCHEMA " + quoted_schema());
    grant("SELECT ON ALL TABLES IN SCHEMA " + quoted_schema());
    grant("SELECT, INSERT, UPDATE, DELETE ON " + quoted_schema() + ".dbos_cpp_executors");
    const auto before = rows();
    for (const bool migrations : {true, false}) {
        dbos::AppOptions options = role_options();
        options.run_migrations = migrations;
        options.application_version = "v-refused";
        const auto text = refusal(options);
        EXPECT_NE(text.find("GRANT "), std::string::npos) << text;
        EXPECT_NE(text.find("workflow_status"), std::string::npos) << text;
        EXPECT_NE(text.find(role), std::string::npos) << text;
    }
    EXPECT_EQ(rows(), before);
}

TEST_P(LaunchRole, that_may_not_write_one_table) {
    create();
    grant("USAGE ON SCHEMA " + quoted_schema());
    grant("SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + quoted_schema());
    open()->script("REVOKE INSERT ON " + quoted_schema() + ".operation_outputs FROM " + role);
    const auto before = rows();
    dbos::AppOptions options = role_options();
    options.application_version = "v-refused";
    const auto text = refusal(options);
    EXPECT_NE(text.find("operation_outputs"), std::string::npos) << text;
    EXPECT_EQ(text.find("workflow_status"), std::string::npos) << text;
    EXPECT_EQ(rows(), before);
    grant("INSERT ON " + quoted_schema() + ".operation_outputs");
    EXPECT_EQ(refusal(options), "");
}

TEST_P(LaunchRole, that_may_use_everything_but_the_table_of_executors) {
    create();
    grant("USAGE ON SCHEMA " + quoted_schema());
    grant("SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + quoted_schema());
    open()->script("DROP TABLE " + quoted_schema() + ".dbos_cpp_executors");
    const auto tables_before = tables();
    for (const bool migrations : {true, false}) {
        dbos::AppOptions options = role_options();
        options.run_migrations = migrations;
        const auto text = refusal(options);
        EXPECT_NE(text.find("CREATE TABLE"), std::string::npos) << text;
        EXPECT_NE(text.find("GRANT SELECT, INSERT, UPDATE, DELETE ON"), std::string::npos) << text;
    }
    EXPECT_EQ(tables(), tables_before);
}

TEST_P(LaunchRole, that_may_not_create_a_schema) {
    dbos::AppOptions options = role_options();
    options.dbos_system_schema = database().schema() + "_new";
    const auto text = refusal(options);
    EXPECT_NE(text.find(options.dbos_system_schema), std::string::npos) << text;
    EXPECT_NE(text.find("may not upgrade it"), std::string::npos) << text;
    EXPECT_NE(text.find(role), std::string::npos) << text;
    EXPECT_EQ(
        scalar("SELECT count(*) FROM pg_namespace WHERE nspname = '" + options.dbos_system_schema + "'"),
        "0");
}

}  // namespace
