// Fresh databases: the catalog is the one of every other SDK, and creating it twice changes nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "schema_support.hpp"
#include "sysdb/schema/layout.hpp"

namespace dbos::schema_test {
namespace {

using sysdb::migrate;

Json own_catalog() {
    std::ifstream in(std::string(DBOS_TEST_VECTORS) + "/../../docs/wire/dbos_cpp_catalog.json");
    return Json::parse(in);
}

TEST(SchemaCatalog, FreshPostgresEqualsTheSharedCatalog) {
    SKIP_WITHOUT_POSTGRES();
    const PostgresDatabase database;
    const auto result = migrate(database.options(), quick());
    EXPECT_EQ(result.found, 0);
    EXPECT_EQ(result.version, 125);
    EXPECT_TRUE(result.changed);
    const auto connection = database.connect();
    EXPECT_EQ(difference(expected_catalog(schema_vector("postgres-catalog.json")),
                         dump_postgres(*connection, "dbos")),
              "");
    EXPECT_EQ(scalar(*connection, "SELECT string_agg(version::text, ',') FROM dbos.dbos_migrations"), "125");
    EXPECT_EQ(scalar(*connection, "SELECT count(*) FROM pg_extension WHERE extname = 'uuid-ossp'"), "0");
    EXPECT_EQ(scalar(*connection,
                     "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
                     "(SELECT oid FROM pg_database WHERE datname = current_database())"),
              "0");
}

TEST(SchemaCatalog, OurOwnTableOnPostgres) {
    SKIP_WITHOUT_POSTGRES();
    const PostgresDatabase database;
    migrate(database.options(), quick());
    const auto connection = database.connect();
    EXPECT_EQ(difference(own_catalog()["postgres"], dump_postgres(*connection, "dbos", true)), "");
}

TEST(SchemaCatalog, FreshSqliteEqualsTheSharedCatalog) {
    const SqliteFile file;
    const auto result = migrate(file.options(), quick());
    EXPECT_EQ(result.found, 0);
    EXPECT_EQ(result.version, 125);
    const auto connection = file.connect();
    EXPECT_EQ(difference(expected_catalog(schema_vector("sqlite-catalog.json")), dump_sqlite(*connection)),
              "");
    EXPECT_EQ(difference(own_catalog()["sqlite"], dump_sqlite(*connection, true)), "");
    EXPECT_EQ(scalar(*connection, "SELECT group_concat(version) FROM dbos_migrations"), "125");
    EXPECT_EQ(scalar(*connection, "PRAGMA journal_mode"), "wal");
    EXPECT_EQ(scalar(*connection, "PRAGMA foreign_keys"), "1");
}

TEST(SchemaCatalog, DefaultsOnSqliteAreMillisecondsAndIds) {
    const SqliteFile file;
    migrate(file.options(), quick());
    const auto connection = file.connect();
    connection->script(
        "INSERT INTO workflow_status (workflow_uuid, status) VALUES ('a', 'PENDING'); "
        "INSERT INTO notifications (destination_uuid, message) VALUES ('a', '1'); "
        "INSERT INTO queues (name) VALUES ('q');");
    EXPECT_EQ(scalar(*connection, "SELECT typeof(created_at) FROM workflow_status"), "integer");
    EXPECT_EQ(scalar(*connection,
                     "SELECT abs(created_at - strftime('%s', 'now') * 1000) < 60000 FROM workflow_status"),
              "1");
    EXPECT_EQ(scalar(*connection, "SELECT length(message_uuid) FROM notifications"), "32");
    EXPECT_EQ(scalar(*connection, "SELECT length(queue_id) FROM queues"), "32");
}

TEST(SchemaCatalog, MigratingTwiceChangesNothing) {
    {
        const SqliteFile file;
        migrate(file.options(), quick());
        const auto connection = file.connect();
        const std::string before = scalar(*connection, "PRAGMA schema_version");
        const auto again = migrate(file.options(), quick());
        EXPECT_EQ(again.found, 125);
        EXPECT_FALSE(again.changed);
        EXPECT_EQ(scalar(*connection, "PRAGMA schema_version"), before);
    }
    SKIP_WITHOUT_POSTGRES();
    const PostgresDatabase database;
    migrate(database.options(), quick());
    const auto connection = database.connect();
    const char* const identity =
        "SELECT string_agg(oid::text || ':' || xmin::text, ',' ORDER BY oid) FROM pg_class "
        "WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'dbos')";
    const std::string before = scalar(*connection, identity);
    const auto again = migrate(database.options(), quick());
    EXPECT_EQ(again.found, 125);
    EXPECT_FALSE(again.changed);
    EXPECT_EQ(scalar(*connection, identity), before);
}

TEST(SchemaCatalog, OddSchemaName) {
    SKIP_WITHOUT_POSTGRES();
    const PostgresDatabase database;
    const std::string schema = "my \"odd\" schema's @name $1";
    migrate(database.options(schema), quick());
    const auto connection = database.connect(schema);
    EXPECT_EQ(difference(expected_catalog(schema_vector("postgres-catalog.json")),
                         dump_postgres(*connection, schema)),
              "");
    EXPECT_EQ(scalar(*connection, "SELECT @enqueue_workflow('w', 'q', workflow_id => 'id')"), "id");
    connection->query("SELECT @send_message('id', '1')");
    EXPECT_EQ(scalar(*connection, "SELECT topic FROM @notifications"), "__null__topic__");
    EXPECT_TRUE(sysdb::probe(*connection, schema).executors_permitted);
    EXPECT_FALSE(migrate(database.options(schema), quick()).changed);
}

TEST(SchemaCatalog, CreatesTheDatabase) {
    SKIP_WITHOUT_POSTGRES();
    const PostgresDatabase database;
    sql::OpenOptions options = database.options();
    {
        const PostgresDatabase other;
        options = other.options();
    }  // gone again
    sysdb::MigrateOptions without = quick();
    without.create_database = false;
    EXPECT_THROW(migrate(options, without), DatabaseError);
    const auto result = migrate(options, quick());
    EXPECT_EQ(result.version, 125);
    database.connect()->script("DROP DATABASE " + options.url.database + " WITH (FORCE)");
}

TEST(SchemaCatalog, SqliteFileOfOursReopened) {
    const SqliteFile file;
    migrate(file.options(), quick());
    {
        const auto connection = file.connect();
        connection->script("INSERT INTO workflow_status (workflow_uuid, status) VALUES ('kept', 'PENDING')");
    }
    EXPECT_FALSE(migrate(file.options(), quick()).changed);
    const auto connection = file.connect();
    EXPECT_EQ(scalar(*connection, "SELECT workflow_uuid FROM workflow_status"), "kept");
    EXPECT_TRUE(sysdb::probe(*connection, "").creator_token);
}

// Functions of the schema, as callers in SQL see them.
class SchemaFunctions : public ::testing::Test {
   protected:
    void SetUp() override {
        SKIP_WITHOUT_POSTGRES();
        database_.emplace();
        migrate(database_->options(), quick());
        connection_ = database_->connect();
    }
    std::string ask(const std::string& text) { return scalar(*connection_, text); }
    std::string refusal(const std::string& text) {
        try {
            connection_->query(text, {}, sql::Access::write);
        } catch (const DatabaseError& error) {
            return error.sqlstate() + " " + error.what();
        }
        return "no error";
    }
    std::optional<PostgresDatabase> database_;
    std::unique_ptr<sql::Connection> connection_;
};

using ::testing::HasSubstr;

TEST_F(SchemaFunctions, EnqueueWritesStatusAndInput) {
    EXPECT_EQ(ask("SELECT dbos.enqueue_workflow('w', 'q', ARRAY['1', '\"a\"']::json[], workflow_id => 'x', "
                  "priority => 3, "
                  "application_name => 'app')"),
              "x");
    EXPECT_EQ(ask("SELECT inputs FROM dbos.workflow_input"),
              R"({"positionalArgs" : [1,"a"], "namedArgs" : {}})");
    EXPECT_EQ(ask("SELECT concat_ws('|', status, name, queue_name, priority, recovery_attempts, "
                  "serialization, application_name, "
                  "owner_xid IS NOT NULL, creator_xid IS NULL, inputs IS NULL, executor_id IS NULL, "
                  "class_name IS NULL, "
                  "created_at = updated_at) FROM dbos.workflow_status"),
              "ENQUEUED|w|q|3|0|portable_json|app|t|t|t|t|t|t");
    EXPECT_EQ(ask("SELECT i.retention_timestamp = s.created_at FROM dbos.workflow_input i JOIN "
                  "dbos.workflow_status s "
                  "USING (workflow_uuid)"),
              "t");
    ask("SELECT dbos.enqueue_workflow('other', 'q', workflow_id => 'x')");
    EXPECT_EQ(ask("SELECT string_agg(name, ',') FROM dbos.workflow_status"), "w");
    EXPECT_EQ(ask("SELECT inputs FROM dbos.workflow_input"),
              R"({"positionalArgs" : [1,"a"], "namedArgs" : {}})");
}

TEST_F(SchemaFunctions, EnqueueDelayedAndWithoutArguments) {
    ask("SELECT dbos.enqueue_workflow('w', 'q', NULL, NULL, workflow_id => 'x', delay_until_epoch_ms => 0)");
    EXPECT_EQ(ask("SELECT status FROM dbos.workflow_status"), "DELAYED");
    EXPECT_EQ(ask("SELECT inputs FROM dbos.workflow_input"),
              R"({"positionalArgs" : null, "namedArgs" : null})");
}

TEST_F(SchemaFunctions, EnqueueRefusals) {
    EXPECT_THAT(refusal("SELECT dbos.enqueue_workflow('', NULL)"), HasSubstr("P0001"));
    EXPECT_THAT(refusal("SELECT dbos.enqueue_workflow(NULL, NULL)"),
                HasSubstr("Workflow name cannot be null or empty"));
    EXPECT_THAT(refusal("SELECT dbos.enqueue_workflow('w', '')"),
                HasSubstr("Queue name cannot be null or empty"));
    EXPECT_THAT(refusal("SELECT dbos.enqueue_workflow('w', 'q', named_args => '[]')"),
                HasSubstr("Named args must be a JSON object"));
    EXPECT_THAT(refusal("SELECT dbos.enqueue_workflow('w', 'q', workflow_id => '')"),
                HasSubstr("Workflow ID cannot be an empty string if provided."));
    EXPECT_THAT(refusal("SELECT dbos.enqueue_workflow('w', 'q', delay_until_epoch_ms => -1)"),
                HasSubstr("delay_until_epoch_ms must be >= 0"));
    ask("SELECT dbos.enqueue_workflow('w', 'q', deduplication_id => 'd')");
    const std::string duplicate =
        refusal("SELECT dbos.enqueue_workflow('w', 'q', workflow_id => 'y', deduplication_id => 'd')");
    EXPECT_THAT(duplicate, HasSubstr("23505"));
    EXPECT_THAT(duplicate, HasSubstr("DBOS queue duplicated"));
    EXPECT_THAT(duplicate, HasSubstr("Workflow y with queue q and deduplication ID d already exists"));
}

TEST_F(SchemaFunctions, SendMessageAndItsNotification) {
    ask("SELECT dbos.enqueue_workflow('w', 'q', workflow_id => 'x')");
    connection_->query("SELECT dbos.send_message('x', '{\"a\": 1}', 'news', 'key')", {}, sql::Access::write);
    connection_->query("SELECT dbos.send_message('x', '2', 'news', 'key')", {}, sql::Access::write);
    EXPECT_EQ(
        ask("SELECT string_agg(concat_ws('|', message_uuid, topic, message, serialization, consumed), ',') "
            "FROM dbos.notifications"),
        "key|news|{\"a\": 1}|portable_json|f");
    const std::string missing = refusal("SELECT dbos.send_message('nowhere', '1')");
    EXPECT_THAT(missing, HasSubstr("23503"));
    EXPECT_THAT(missing, HasSubstr("DBOS non-existent workflow"));
    EXPECT_THAT(missing, HasSubstr("Destination workflow nowhere does not exist"));
}

}  // namespace
}  // namespace dbos::schema_test
