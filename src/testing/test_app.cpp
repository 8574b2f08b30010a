#include "testing/test_app.hpp"

#include <chrono>
#include <utility>

#include "core/durations.hpp"
#include "sysdb/schema/catalog.hpp"
#include "value/uuid.hpp"

namespace dbos::testing {

namespace {

sysdb::Millis millis(std::chrono::system_clock::time_point instant) {
    return std::chrono::floor<std::chrono::milliseconds>(instant).time_since_epoch().count();
}

sql::OpenOptions database_of(const TestAppOptions& options) {
    sql::OpenOptions open;
    open.url = sql::Url::parse(options.system_database_url);
    if (open.url.backend == sql::Backend::postgres) {
        std::string id = uuid4();
        std::erase(id, '-');
        open.schema = "dbos_test_" + id;
        return open;
    }
    if (open.url.path != ":memory:") {
        throw ConfigError(
            "system_database_url of a TestApp: expected \"sqlite:///:memory:\" or a PostgreSQL URL, got \"" +
            options.system_database_url + "\"; nothing of a TestApp stays on disk");
    }
    open.memory = sql::make_memory_database();
    return open;
}

/// What a dead process logs is nobody's concern.
LogSink while_alive(LogSink sink, std::shared_ptr<const Life> life) {
    if (!sink) sink = stderr_log_sink(LogLevel::warn);
    return [sink = std::move(sink), life = std::move(life)](const LogRecord& record) {
        if (!life->dead.load()) sink(record);
    };
}

}  // namespace

TestApp::Impl::Impl(TestAppOptions given)
    : options(std::move(given)),
      open(database_of(options)),
      now(std::make_shared<seam::Atomic<std::int64_t>>(millis(options.now.value_or(seam::wall_now())))) {
    if (options.app.name.empty()) options.app.name = "test-app";
    options.app.system_database_url = options.system_database_url;
    options.app.system_database_engine = nullptr;
    options.app.dbos_system_schema = open.schema;
    options.app.executor_id = "test-" + uuid4();
}

TestApp::Impl::~Impl() {
    watch.end();
    end_life(false);
    if (open.url.backend != sql::Backend::postgres) return;
    try {
        sql::open(open)->query("DROP SCHEMA IF EXISTS \"" + open.schema + "\" CASCADE", {},
                               sql::Access::write);
    } catch (const std::exception& error) {
        const LogSink sink = options.app.log_sink ? options.app.log_sink : stderr_log_sink(LogLevel::warn);
        sink({LogLevel::warn,
              "the schema of a TestApp could not be dropped",
              {{"schema", open.schema}, {"error", error.what()}}});
    }
}

App& TestApp::Impl::app() {
    if (present && life_->dead.load()) end_life(true);
    if (!present) launch_life();
    return *present;
}

void TestApp::Impl::launch_life() {
    auto life = std::make_shared<Life>();
    AppOptions with = options.app;
    with.log_sink = while_alive(options.app.log_sink, life);
    auto fresh = std::make_unique<App>(std::move(with));
    fresh->impl().executor.instrument(
        {.probe = &watch, .database = [this, life](sysdb::DatabaseOptions& database) {
             const auto mortal =
                 [life](std::unique_ptr<sql::Connection> inner) -> std::unique_ptr<sql::Connection> {
                 return std::make_unique<MortalConnection>(std::move(inner), life);
             };
             database.decorate = mortal;
             database.open.decorate = mortal;
             database.open.memory = open.memory;
             database.virtual_now = now;
         }});
    for (const auto& setup : setups) setup(*fresh);
    watch.new_life(life);
    life_ = life;
    launched_once = true;
    present = std::move(fresh);
    try {
        present->launch();
    } catch (...) {
        present.reset();
        throw;
    }
    std::lock_guard lock(life_mutex);
    alive = true;
}

void TestApp::Impl::end_life(bool death) {
    if (!present) return;
    if (death) watch.kill();
    {
        std::lock_guard lock(life_mutex);
        alive = false;
    }
    // A step may take its time: it is waited for.
    while (!present->shutdown(Duration(0), Duration(10)).empty()) {
    }
    present.reset();
}

std::unique_ptr<sql::Connection> TestApp::Impl::connect() {
    return open.memory ? sql::memory_connection(*open.memory) : sql::open(open);
}

void TestApp::Impl::wipe() {
    const auto connection = connect();
    sql::Transaction transaction(*connection);
    const auto tables = sysdb::schema::tables();
    for (auto table = tables.rbegin(); table != tables.rend(); ++table) {
        if (table->name == "dbos_migrations" || (table->postgres_only && open.memory)) continue;
        connection->query("DELETE FROM @" + std::string(table->name), {}, sql::Access::write);
    }
    transaction.commit();
}

std::vector<TestApp::Impl::Operation> TestApp::Impl::operations(const std::string& workflow_id) {
    const auto found = connect()->query(
        "SELECT function_id, function_name, child_workflow_id, error, output FROM @operation_outputs"
        " WHERE workflow_uuid = $1 ORDER BY function_id",
        {std::string_view(workflow_id)});
    std::vector<Operation> operations;
    for (std::size_t row = 0; row < found.size(); ++row) {
        Operation operation{static_cast<int>(found.at(row, 0).integer()), found.at(row, 1).string(), {}};
        operation.line = std::to_string(operation.number) + " " + operation.name;
        const auto add = [&](std::size_t column, const char* before) {
            const auto text = found.at(row, column).optional_text();
            if (!text || text->empty()) return false;
            operation.line += before + *text;
            return true;
        };
        add(2, " -> ");
        if (!add(3, " failed: ")) add(4, ": ");
        operations.push_back(std::move(operation));
    }
    return operations;
}

TestApp::TestApp(TestAppOptions options)
    : impl_(new Impl(std::move(options))), clock_(new TestClock(new TestClock::Impl(*impl_))) {}

TestApp::~TestApp() = default;

void TestApp::register_queue(QueueOptions options) {
    configure([options = std::move(options)](App& app) { app.register_queue(options); });
}

void TestApp::configure(std::function<void(App&)> setup) {
    if (impl_->launched_once) {
        throw UsageError(
            "a TestApp is changed after its launch: implement, register_queue and configure come before the "
            "first "
            "call that needs it launched");
    }
    impl_->setups.push_back(std::move(setup));
}

void TestApp::launch() { impl_->app(); }

App& TestApp::app() { return impl_->app(); }

void TestApp::crash() {
    impl_->app();
    impl_->end_life(true);
}

std::vector<std::string> TestApp::operations(const std::string& workflow_id) {
    std::vector<std::string> lines;
    impl_->app();
    for (auto& operation : impl_->operations(workflow_id)) lines.push_back(std::move(operation.line));
    return lines;
}

}  // namespace dbos::testing
