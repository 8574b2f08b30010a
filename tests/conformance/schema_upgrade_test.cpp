// Databases of older versions: whatever left them, they end at the one catalog, with their rows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "schema_crash.hpp"
#include "schema_support.hpp"
#include "sysdb/schema/catalog.hpp"
#include "sysdb/schema/ddl.hpp"
#include "sysdb/schema/layout.hpp"
#include "sysdb/schema/postgres.hpp"

namespace dbos::schema_test {
namespace {

using sysdb::migrate;
namespace schema = sysdb::schema;

const char* const kOldEnqueue =
    "(text, text, json[], json, text, text, text, text, bigint, bigint, text, integer, text";

// The state that every SDK reaches just before the shared migrations, with functions as the older releases had them.
void build_v99(sql::Connection& connection) {
    connection.script(build_script(schema_vector("postgres-catalog-v99.json"), "dbos"));
    const schema::Target target;
    connection.script(schema::enqueue_function(target, schema::EnqueueForm::base) + ";" +
                      schema::send_function(target) + ";" + schema::notify_function(target) + ";" +
                      schema::notify_trigger(target) + ";");
    connection.script(
        "INSERT INTO dbos.workflow_status (workflow_uuid, status, name, inputs) VALUES ('old', 'SUCCESS', "
        "'w', 'i');"
        "INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, function_name) VALUES ('old', 0, "
        "'s');");
}

// A database at any shared version: v99 and the migrations up to it.
void build_version(sql::Connection& connection, int version) {
    build_v99(connection);
    const sysdb::MigrateOptions options = quick();
    schema::Job job{connection, {}, options};
    job.read();
    for (int next = schema::kSharedBase; next <= version; ++next) schema::apply_postgres(job, next, false);
}

Json final_catalog() { return expected_catalog(schema_vector("postgres-catalog.json")); }

void expect_final(sql::Connection& connection) {
    EXPECT_EQ(difference(without_column_order(final_catalog()),
                         without_column_order(dump_postgres(connection, "dbos"))),
              "");
    EXPECT_EQ(scalar(connection, "SELECT string_agg(version::text, ',') FROM dbos.dbos_migrations"), "125");
    EXPECT_EQ(scalar(connection, "SELECT count(*) FROM dbos.dbos_cpp_executors"), "0");
    EXPECT_EQ(scalar(connection, "SELECT dbos.enqueue_workflow('w', 'q', workflow_id => 'new')"), "new");
    EXPECT_EQ(scalar(connection, "SELECT count(*) FROM dbos.workflow_input WHERE workflow_uuid = 'new'"),
              "1");
}

class SchemaUpgrade : public ::testing::Test {
   protected:
    void SetUp() override {
        SKIP_WITHOUT_POSTGRES();
        database_.emplace();
        connection_ = database_->connect();
    }
    sysdb::MigrateResult run() { return migrate(database_->options(), quick()); }
    std::optional<PostgresDatabase> database_;
    std::unique_ptr<sql::Connection> connection_;
};

TEST_F(SchemaUpgrade, TheBuiltBaseIsTheSharedOne) {
    build_v99(*connection_);
    EXPECT_EQ(difference(expected_catalog(schema_vector("postgres-catalog-v99.json")),
                         dump_postgres(*connection_, "dbos")),
              "");
}

TEST_F(SchemaUpgrade, EveryMigrationDoesWhatTheSharedListSays) {
    build_v99(*connection_);
    const Json migrations = schema_vector("migrations.json");
    ASSERT_EQ(migrations["latest"].get<int>(), schema::kKnownVersion);
    ASSERT_EQ(migrations["shared_migration_base"].get<int>(), schema::kSharedBase);
    const sysdb::MigrateOptions options = quick();
    schema::Job job{*connection_, {}, options};
    job.read();
    const auto index_exists = [&](const std::string& name) {
        return scalar(*connection_, "SELECT to_regclass('dbos." + name + "') IS NOT NULL");
    };
    for (const Json& migration : migrations["migrations"]) {
        const int version = migration["version"].get<int>();
        SCOPED_TRACE(version);
        EXPECT_EQ(schema::is_online(version), migration["online"].get<bool>());
        schema::apply_postgres(job, version, false);
        EXPECT_EQ(scalar(*connection_, "SELECT version FROM dbos.dbos_migrations"), std::to_string(version));
        const schema::State state = schema::read_state(*connection_, "dbos");
        for (const Json& op : migration["ops"]) {
            const std::string kind = op["op"];
            if (kind == "add_column") {
                EXPECT_TRUE(state.has(op["table"].get<std::string>(), op["column"].get<std::string>()));
            } else if (kind == "create_table") {
                EXPECT_TRUE(state.has(op["table"].get<std::string>()));
            } else if (kind == "create_index" || kind == "drop_index") {
                EXPECT_EQ(index_exists(op["name"]), kind == "create_index" ? "t" : "f") << op["name"];
            } else if (kind == "create_or_replace_function") {
                EXPECT_EQ(
                    scalar(*connection_,
                           "SELECT string_agg(pronargs::text, ',') FROM pg_proc p JOIN pg_namespace n ON "
                           "n.oid = pronamespace WHERE nspname = 'dbos' AND proname = 'enqueue_workflow'"),
                    std::to_string(op["arg_types"].size()));
            }
        }
        // The function works at every version between.
        EXPECT_NE(scalar(*connection_, "SELECT dbos.enqueue_workflow('w', 'q')"), "");
    }
    EXPECT_EQ(difference(final_catalog(), dump_postgres(*connection_, "dbos")), "");
}

TEST_F(SchemaUpgrade, From99) {
    build_v99(*connection_);
    const auto result = run();
    EXPECT_EQ(result.found, 99);
    EXPECT_EQ(result.version, 125);
    EXPECT_EQ(difference(final_catalog(), dump_postgres(*connection_, "dbos")), "")
        << "column order included";
    expect_final(*connection_);
    EXPECT_EQ(scalar(*connection_, "SELECT inputs FROM dbos.workflow_status WHERE workflow_uuid = 'old'"),
              "i");
    EXPECT_EQ(scalar(*connection_, "SELECT retention_timestamp > 0 FROM dbos.operation_outputs"), "t");
}

TEST_F(SchemaUpgrade, From109And123) {
    build_version(*connection_, 109);
    EXPECT_EQ(run().found, 109);
    expect_final(*connection_);

    const PostgresDatabase other;
    const auto connection = other.connect();
    build_version(*connection, 123);
    EXPECT_EQ(migrate(other.options(), quick()).found, 123);
    EXPECT_EQ(difference(final_catalog(), dump_postgres(*connection, "dbos")), "");
}

TEST_F(SchemaUpgrade, DropsWhatAnInterruptedBuildLeft) {
    build_version(*connection_, 114);
    // A unique index that fails CONCURRENTLY stays behind, invalid; under the name of the next step here.
    connection_->script(
        "INSERT INTO dbos.workflow_status (workflow_uuid, name) VALUES ('one', 'same'), ('two', 'same')");
    EXPECT_THROW(connection_->script("CREATE UNIQUE INDEX CONCURRENTLY idx_workflow_status_in_flight_v2 ON "
                                     "dbos.workflow_status (name)"),
                 DatabaseError);
    EXPECT_EQ(scalar(*connection_, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "1");
    run();
    EXPECT_EQ(scalar(*connection_, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
    expect_final(*connection_);
}

// P 1: the first migration of Python, Go, Java and Rust: six tables, broad indexes, no primary key on notifications.
constexpr const char* kFirstTables = R"(
CREATE SCHEMA dbos;
CREATE TABLE dbos.workflow_status (workflow_uuid TEXT PRIMARY KEY, status TEXT, name TEXT, authenticated_user TEXT,
  assumed_role TEXT, authenticated_roles TEXT, request TEXT, output TEXT, error TEXT, executor_id TEXT,
  created_at BIGINT NOT NULL DEFAULT (EXTRACT(epoch FROM now()) * 1000.0)::bigint,
  updated_at BIGINT NOT NULL DEFAULT (EXTRACT(epoch FROM now()) * 1000.0)::bigint,
  application_version TEXT, application_id TEXT, class_name VARCHAR(255) DEFAULT NULL, config_name VARCHAR(255) DEFAULT NULL,
  recovery_attempts BIGINT DEFAULT 0, queue_name TEXT, workflow_timeout_ms BIGINT, workflow_deadline_epoch_ms BIGINT,
  inputs TEXT, started_at_epoch_ms BIGINT, deduplication_id TEXT, priority INT4 NOT NULL DEFAULT 0,
  CONSTRAINT uq_workflow_status_queue_name_dedup_id UNIQUE (queue_name, deduplication_id));
CREATE INDEX workflow_status_created_at_index ON dbos.workflow_status (created_at);
CREATE INDEX workflow_status_executor_id_index ON dbos.workflow_status (executor_id);
CREATE INDEX workflow_status_status_index ON dbos.workflow_status (status);
CREATE TABLE dbos.operation_outputs (workflow_uuid TEXT NOT NULL, function_id INT4 NOT NULL, function_name TEXT NOT NULL DEFAULT '',
  output TEXT, error TEXT, child_workflow_id TEXT, PRIMARY KEY (workflow_uuid, function_id),
  FOREIGN KEY (workflow_uuid) REFERENCES dbos.workflow_status ON UPDATE CASCADE ON DELETE CASCADE);
CREATE TABLE dbos.notifications (message_uuid TEXT NOT NULL DEFAULT gen_random_uuid(), destination_uuid TEXT NOT NULL, topic TEXT,
  message TEXT NOT NULL, created_at_epoch_ms BIGINT NOT NULL DEFAULT (EXTRACT(epoch FROM now()) * 1000.0)::bigint,
  FOREIGN KEY (destination_uuid) REFERENCES dbos.workflow_status ON UPDATE CASCADE ON DELETE CASCADE);
CREATE INDEX idx_workflow_topic ON dbos.notifications (destination_uuid, topic);
CREATE TABLE dbos.workflow_events (workflow_uuid TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (workflow_uuid, key),
  FOREIGN KEY (workflow_uuid) REFERENCES dbos.workflow_status ON UPDATE CASCADE ON DELETE CASCADE);
CREATE TABLE dbos.streams (workflow_uuid TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, "offset" INT4 NOT NULL,
  PRIMARY KEY (workflow_uuid, key, "offset"),
  FOREIGN KEY (workflow_uuid) REFERENCES dbos.workflow_status ON UPDATE CASCADE ON DELETE CASCADE);
CREATE TABLE dbos.event_dispatch_kv (service_name TEXT NOT NULL, workflow_fn_name TEXT NOT NULL, key TEXT NOT NULL, value TEXT,
  update_seq NUMERIC(38,0), update_time NUMERIC(38,15), PRIMARY KEY (service_name, workflow_fn_name, key));
CREATE FUNCTION dbos.notifications_function() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN PERFORM pg_notify(''dbos_notifications_channel'', NEW.destination_uuid || ''::'' || NEW.topic); RETURN NEW; END';
CREATE TRIGGER dbos_notifications_trigger AFTER INSERT ON dbos.notifications
  FOR EACH ROW EXECUTE FUNCTION dbos.notifications_function();
CREATE FUNCTION dbos.workflow_events_function() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER dbos_workflow_events_trigger AFTER INSERT ON dbos.workflow_events
  FOR EACH ROW EXECUTE FUNCTION dbos.workflow_events_function();
CREATE TABLE dbos.dbos_migrations (version BIGINT NOT NULL PRIMARY KEY);
)";

TEST_F(SchemaUpgrade, FromTheFirstVersionOfThePLineage) {
    connection_->script(
        std::string(kFirstTables) +
        "INSERT INTO dbos.dbos_migrations VALUES (1);"
        "INSERT INTO dbos.workflow_status (workflow_uuid, status, queue_name, deduplication_id) VALUES "
        "('a', 'ENQUEUED', 'q', 'd'), ('b', 'PENDING', NULL, NULL);"
        "INSERT INTO dbos.notifications (destination_uuid, message) VALUES ('a', 'm')");
    EXPECT_EQ(run().found, 1);
    expect_final(*connection_);
    EXPECT_EQ(scalar(*connection_, "SELECT message || consumed FROM dbos.notifications"), "mfalse");
}

TEST_F(SchemaUpgrade, FromTheMiddleOfThePLineage) {
    // P 20: full indexes where partial ones are due, an old 13-parameter function, owner_xid of the first Java releases.
    connection_->script(kFirstTables);
    connection_->script(
        std::string("ALTER TABLE dbos.workflow_status ADD COLUMN queue_partition_key TEXT, ADD COLUMN "
                    "forked_from TEXT, "
                    "ADD COLUMN owner_xid VARCHAR(40), ADD COLUMN parent_workflow_id TEXT, ADD COLUMN "
                    "serialization TEXT;"
                    "CREATE INDEX idx_workflow_status_forked_from ON dbos.workflow_status (forked_from);"
                    "CREATE INDEX idx_workflow_status_parent_workflow_id ON dbos.workflow_status "
                    "(parent_workflow_id);"
                    "CREATE INDEX idx_workflow_status_queue_status_started ON dbos.workflow_status "
                    "(queue_name, status, started_at_epoch_ms);"
                    "ALTER TABLE dbos.notifications ADD PRIMARY KEY (message_uuid), ADD COLUMN consumed "
                    "BOOLEAN NOT NULL DEFAULT FALSE;"
                    "CREATE INDEX idx_notifications ON dbos.notifications (destination_uuid, topic);"
                    "CREATE FUNCTION dbos.enqueue_workflow") +
        kOldEnqueue +
        ") RETURNS text LANGUAGE sql AS 'SELECT ''old''';"
        "CREATE FUNCTION dbos.send_message(destination_id text, message json, topic text, idempotency_key "
        "text) RETURNS void "
        "LANGUAGE sql AS '';"
        "INSERT INTO dbos.dbos_migrations VALUES (20)");
    EXPECT_EQ(run().found, 20);
    expect_final(*connection_);
}

TEST_F(SchemaUpgrade, FromTheTLineage) {
    // T 60: tables of old releases still there, the foreign key of steps under its other name, streams trigger not yet made.
    build_v99(*connection_);
    connection_->script(std::string(
        "ALTER TABLE dbos.workflow_status DROP COLUMN attributes, DROP COLUMN schedule_name, "
        "DROP COLUMN debounce_deadline_epoch_ms, DROP COLUMN is_debounced, DROP COLUMN inputs;"
        "DROP INDEX dbos.idx_workflow_status_partition_dequeue_v2;"
        "CREATE INDEX idx_workflow_status_partition_dequeue ON dbos.workflow_status (queue_name);"
        "ALTER TABLE dbos.operation_outputs DROP CONSTRAINT operation_outputs_workflow_uuid_fkey;"
        "ALTER TABLE dbos.operation_outputs ADD CONSTRAINT operation_outputs_workflow_uuid_foreign FOREIGN "
        "KEY (workflow_uuid) "
        "REFERENCES dbos.workflow_status ON UPDATE CASCADE ON DELETE CASCADE;"
        "CREATE TABLE dbos.workflow_inputs (workflow_uuid TEXT PRIMARY KEY, inputs TEXT NOT NULL);"
        "CREATE TABLE dbos.workflow_queue (workflow_uuid TEXT PRIMARY KEY);"
        "CREATE TABLE dbos.scheduler_state (workflow_fn_name TEXT PRIMARY KEY);"
        "INSERT INTO dbos.workflow_inputs VALUES ('old', 'kept');"
        "UPDATE dbos.dbos_migrations SET version = 60"));
    EXPECT_EQ(run().found, 60);
    expect_final(*connection_);
    EXPECT_EQ(scalar(*connection_, "SELECT inputs FROM dbos.workflow_status WHERE workflow_uuid = 'old'"),
              "kept");
}

TEST_F(SchemaUpgrade, DamagedByAJumpOfLineage) {
    // P code on T 60 records 108 although columns of the base are missing.
    build_version(*connection_, 108);
    connection_->script(
        "ALTER TABLE dbos.workflow_status DROP COLUMN attributes, DROP COLUMN is_debounced;"
        "CREATE TABLE dbos.workflow_inputs (workflow_uuid TEXT PRIMARY KEY, inputs TEXT NOT NULL)");
    EXPECT_EQ(run().found, 108);
    expect_final(*connection_);
}

TEST_F(SchemaUpgrade, DamagedAtTheNewestVersion) {
    run();
    connection_->script(
        "ALTER TABLE dbos.workflow_status DROP COLUMN attributes, DROP COLUMN creator_xid;"
        "INSERT INTO dbos.workflow_status (workflow_uuid, status) VALUES ('kept', 'PENDING')");
    EXPECT_EQ(run().found, 125);
    expect_final(*connection_);
}

TEST_F(SchemaUpgrade, InterruptedCreationOfAPeer) {
    connection_->script(kFirstTables);
    connection_->script(
        "DROP TRIGGER dbos_notifications_trigger ON dbos.notifications; DROP FUNCTION "
        "dbos.notifications_function();"
        "DROP TABLE dbos.dbos_migrations");
    EXPECT_EQ(run().found, 0);
    expect_final(*connection_);
}

TEST_F(SchemaUpgrade, WithoutListenNotifyStaysSo) {
    build_v99(*connection_);
    connection_->script(
        "DROP TRIGGER dbos_notifications_trigger ON dbos.notifications; DROP FUNCTION "
        "dbos.notifications_function()");
    run();
    EXPECT_EQ(dump_postgres(*connection_, "dbos")["triggers"], Json::array());
}

TEST_F(SchemaUpgrade, TwoVersionRowsBecomeOne) {
    build_version(*connection_, 110);
    connection_->script("INSERT INTO dbos.dbos_migrations VALUES (108)");
    EXPECT_EQ(run().found, 110);
    expect_final(*connection_);
}

TEST_F(SchemaUpgrade, RightsOfTheApplicationRoleReachNewTables) {
    build_version(*connection_, 108);
    const std::string role = "role_" + database_->name();
    connection_->script("CREATE ROLE " + role + " LOGIN; GRANT USAGE ON SCHEMA dbos TO " + role +
                        "; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA dbos TO " + role);
    run();
    {
        const auto restricted = database_->connect("dbos", role);
        const sysdb::Layout layout = sysdb::probe(*restricted, "dbos");
        EXPECT_TRUE(layout.payload_tables);
        EXPECT_TRUE(layout.executors_permitted);
        EXPECT_NO_THROW(sysdb::require_app_floor(layout));
        EXPECT_NE(scalar(*restricted, "SELECT dbos.enqueue_workflow('w', 'q')"), "");
    }
    connection_->script("DROP OWNED BY " + role + "; DROP ROLE " + role);
}

// A crash at any call: whatever was done, the next migration ends at the catalog.
TEST_F(SchemaUpgrade, CrashAtEveryCall) {
    build_v99(*connection_);
    connection_.reset();  // a template must be unused
    bool completed = false;
    int crashes = 0;
    for (int at = 1; !completed; at += 11) {
        SCOPED_TRACE(at);
        const PostgresDatabase copy(database_->name());
        {
            CrashingConnection victim(copy.connect(), at);
            try {
                migrate(victim, "dbos", quick());
                completed = true;
            } catch (const Crash&) {
                ++crashes;
            }
        }
        migrate(copy.options(), quick());
        const auto connection = copy.connect();
        expect_final(*connection);
        ASSERT_LT(at, 2000);
    }
    EXPECT_GT(crashes, 5);
}

// --- SQLite

// A file at version 99 of the P lineage: the final file without what the shared migrations bring.
void build_sqlite_v99(sql::Connection& connection, const std::string& version) {
    const schema::Target target{sql::Backend::sqlite, ""};
    for (const schema::Table& table : schema::tables()) {
        if (table.postgres_only || table.since != 0) continue;
        std::string text = schema::create_table(target, table, schema::Shape::base, false);
        if (table.name == "operation_outputs") {
            text.insert(text.rfind(')'),
                        ", FOREIGN KEY (workflow_uuid) REFERENCES workflow_status (workflow_uuid) "
                        "ON DELETE CASCADE ON UPDATE CASCADE");
        }
        connection.script(text);
    }
    for (const schema::Index& index : schema::indexes()) {
        if (index.since == 0 && !index.gin) connection.script(schema::create_index(target, index, false));
    }
    connection.script(
        "CREATE INDEX idx_notifications ON notifications (destination_uuid, topic);"
        "CREATE INDEX idx_workflow_status_in_flight ON workflow_status (queue_name, status, priority, "
        "created_at);"
        "CREATE INDEX idx_operation_outputs_completed_at_function_name ON operation_outputs "
        "(completed_at_epoch_ms, function_name);"
        "INSERT INTO workflow_status (workflow_uuid, status) VALUES ('old', 'SUCCESS');"
        "INSERT INTO operation_outputs (workflow_uuid, function_id, output) VALUES ('old', 3, 'o');"
        "INSERT INTO dbos_migrations VALUES (" +
        version + ")");
}

void expect_final_sqlite(sql::Connection& connection) {
    EXPECT_EQ(difference(without_column_order(expected_catalog(schema_vector("sqlite-catalog.json"))),
                         without_column_order(dump_sqlite(connection))),
              "");
    EXPECT_EQ(scalar(connection, "SELECT group_concat(version) FROM dbos_migrations"), "125");
}

TEST(SchemaUpgradeSqlite, FromOldVersions) {
    for (const char* version : {"40", "47", "99"}) {
        SCOPED_TRACE(version);
        const SqliteFile file;
        {
            const auto connection = file.connect();
            build_sqlite_v99(*connection, version);
        }
        const auto result = migrate(file.options(), quick());
        EXPECT_EQ(std::to_string(result.found), version);
        const auto connection = file.connect();
        expect_final_sqlite(*connection);
        EXPECT_EQ(scalar(*connection,
                         "SELECT workflow_uuid || function_id || output || (retention_timestamp > 0) "
                         "FROM operation_outputs"),
                  "old3o1");
    }
}

TEST(SchemaUpgradeSqlite, FromTheMiddleOfTheSharedOnes) {
    for (const int version : {104, 110, 111, 116, 123}) {
        SCOPED_TRACE(version);
        const SqliteFile file;
        const auto connection = file.connect();
        build_sqlite_v99(*connection, "99");
        migrate(*connection, "", quick());
        // Undo what came after: a number and some objects.
        std::string undo = "UPDATE dbos_migrations SET version = " + std::to_string(version) +
                           "; DROP INDEX idx_application_versions_timestamp; DROP INDEX "
                           "idx_application_versions_owner_timestamp;";
        if (version < 123) undo += "ALTER TABLE workflow_status DROP COLUMN creator_xid;";
        if (version < 121) undo += "ALTER TABLE notifications DROP COLUMN consumed_by_function_id;";
        if (version < 119) undo += "DROP INDEX idx_operation_outputs_completed_at_function_name_v2;";
        if (version < 111) undo += "DROP INDEX idx_operation_outputs_retention;";
        if (version == 110 || version == 111) {
            undo +=
                "CREATE TABLE steps AS SELECT * FROM operation_outputs; DROP TABLE operation_outputs;"
                "CREATE TABLE operation_outputs (workflow_uuid TEXT NOT NULL, function_id INTEGER NOT NULL, "
                "function_name TEXT "
                "NOT NULL DEFAULT '', output TEXT, error TEXT, child_workflow_id TEXT, started_at_epoch_ms "
                "INTEGER, "
                "completed_at_epoch_ms INTEGER, serialization TEXT, application_name TEXT DEFAULT NULL, "
                "retention_timestamp "
                "INTEGER, PRIMARY KEY (workflow_uuid, function_id), FOREIGN KEY (workflow_uuid) REFERENCES "
                "workflow_status "
                "(workflow_uuid) ON DELETE CASCADE ON UPDATE CASCADE);"
                "INSERT INTO operation_outputs SELECT * FROM steps; DROP TABLE steps;"
                "UPDATE operation_outputs SET retention_timestamp = NULL;";
        }
        connection->script(undo);
        EXPECT_EQ(migrate(*connection, "", quick()).found, version);
        expect_final_sqlite(*connection);
        EXPECT_EQ(scalar(*connection, "SELECT output || (retention_timestamp > 0) FROM operation_outputs"),
                  "o1");
    }
}

TEST(SchemaUpgradeSqlite, FirstColumnsOnlyAndAnOldIndex) {
    const SqliteFile file;
    const auto connection = file.connect();
    build_sqlite_v99(*connection, "7");
    connection->script(
        "DROP TABLE queues; DROP TABLE workflow_schedules; DROP TABLE application_versions;"
        "DROP INDEX idx_workflow_status_schedule_name; DROP INDEX idx_workflow_status_forked_from;"
        "ALTER TABLE workflow_status DROP COLUMN schedule_name; ALTER TABLE workflow_status DROP COLUMN "
        "attributes;"
        "ALTER TABLE notifications DROP COLUMN consumed;"
        "CREATE INDEX idx_workflow_status_forked_from ON workflow_status (forked_from);"
        "CREATE INDEX workflow_status_status_index ON workflow_status (status)");
    EXPECT_EQ(migrate(*connection, "", quick()).found, 7);
    expect_final_sqlite(*connection);
}

TEST(SchemaUpgradeSqlite, CrashAtEveryCall) {
    bool completed = false;
    for (int at = 1; !completed; at += 5) {
        SCOPED_TRACE(at);
        const SqliteFile file;
        {
            const auto connection = file.connect();
            build_sqlite_v99(*connection, "40");
        }
        {
            CrashingConnection victim(file.connect(), at);
            try {
                migrate(victim, "", quick());
                completed = true;
            } catch (const Crash&) {
            }
        }
        const auto connection = file.connect();
        EXPECT_THAT(scalar(*connection, "SELECT version FROM dbos_migrations"), ::testing::AnyOf("40", "125"))
            << "all or nothing";
        migrate(file.options(), quick());
        expect_final_sqlite(*connection);
        ASSERT_LT(at, 2000);
    }
}

}  // namespace
}  // namespace dbos::schema_test
