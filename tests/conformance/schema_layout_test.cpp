// What clients and applications find, and what they refuse.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schema_support.hpp"
#include "sysdb/schema/layout.hpp"

namespace dbos::schema_test {
namespace {

using sysdb::migrate;
using ::testing::AllOf;
using ::testing::HasSubstr;

template <class F>
std::string config_error(F&& body) {
    try {
        body();
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "no ConfigError";
}

class SchemaLayout : public ::testing::Test {
   protected:
    void SetUp() override {
        SKIP_WITHOUT_POSTGRES();
        database_.emplace();
        connection_ = database_->connect();
        role_ = "role_" + database_->name();
        connection_->script("CREATE ROLE " + role_ + " LOGIN");
    }
    void TearDown() override {
        if (!connection_) return;
        connection_->script("DROP OWNED BY " + role_ + "; DROP ROLE " + role_);
    }
    void build(const char* vector) { connection_->script(build_script(schema_vector(vector), "dbos")); }
    void grant(const std::string& tables) {
        connection_->script("GRANT USAGE ON SCHEMA dbos TO " + role_ +
                            "; GRANT SELECT, INSERT, UPDATE, DELETE ON " + tables + " TO " + role_);
    }
    std::string probe_refusal(const std::string& schema = "dbos") {
        return config_error([&] { sysdb::probe(*database_->connect(schema, role_), schema); });
    }
    std::optional<PostgresDatabase> database_;
    std::unique_ptr<sql::Connection> connection_;
    std::string role_;
};

void expect_everything(const sysdb::Layout& layout) {
    EXPECT_TRUE(layout.payload_tables && layout.creator_token && layout.ownership && layout.step_retention);
    EXPECT_TRUE(layout.recv_marker && layout.partition_limits && layout.attributes && layout.schedule_name);
    EXPECT_TRUE(layout.debounce && layout.delay && layout.rate_limited && layout.completed_at);
    EXPECT_TRUE(layout.queues && layout.schedules && layout.versions && layout.legacy_payloads);
    EXPECT_TRUE(layout.executors && layout.executors_permitted);
    EXPECT_NO_THROW(sysdb::require_app_floor(layout));
}

TEST_F(SchemaLayout, NewestPostgres) {
    migrate(database_->options(), quick());
    const sysdb::Layout layout = sysdb::probe(*connection_, "dbos");
    EXPECT_EQ(layout.version, 125);
    expect_everything(layout);
}

TEST(SchemaLayoutSqlite, Newest) {
    const SqliteFile file;
    migrate(file.options(), quick());
    const auto connection = file.connect();
    const sysdb::Layout layout = sysdb::probe(*connection, "");
    EXPECT_EQ(layout.version, 125);
    expect_everything(layout);
}

TEST_F(SchemaLayout, BeforeThePayloadSplit) {
    build("postgres-catalog-v99.json");
    const sysdb::Layout layout = sysdb::probe(*connection_, "dbos");
    EXPECT_EQ(layout.version, 99);
    EXPECT_FALSE(layout.payload_tables || layout.creator_token || layout.ownership || layout.step_retention);
    EXPECT_FALSE(layout.recv_marker || layout.partition_limits || layout.executors);
    EXPECT_TRUE(layout.attributes && layout.schedule_name && layout.debounce && layout.delay &&
                layout.queues);
    EXPECT_TRUE(layout.legacy_payloads && layout.schedules && layout.versions);
    EXPECT_THAT(config_error([&] { sysdb::require_app_floor(layout); }),
                AllOf(HasSubstr("99"), HasSubstr("123")));
}

TEST_F(SchemaLayout, OneHundredTwentyThreeIsTheFloorOfApplications) {
    build("postgres-catalog.json");
    connection_->script("UPDATE dbos.dbos_migrations SET version = 123");
    sysdb::Layout layout = sysdb::probe(*connection_, "dbos");
    EXPECT_THAT(config_error([&] { sysdb::require_app_floor(layout); }),
                AllOf(HasSubstr("dbos_cpp_executors is missing"),
                      HasSubstr("CREATE TABLE \"dbos\".dbos_cpp_executors")));
    connection_->script(layout.executors_fix);
    layout = sysdb::probe(*connection_, "dbos");
    EXPECT_NO_THROW(sysdb::require_app_floor(layout));
    layout.version = 122;
    EXPECT_THROW(sysdb::require_app_floor(layout), ConfigError);
}

TEST_F(SchemaLayout, DroppedLegacyColumnsAreNoticed) {
    migrate(database_->options(), quick());
    connection_->script(
        "ALTER TABLE dbos.workflow_status DROP COLUMN inputs, DROP COLUMN output, DROP COLUMN error;"
        "UPDATE dbos.dbos_migrations SET version = 200");
    EXPECT_FALSE(sysdb::probe(*connection_, "dbos").legacy_payloads);
    EXPECT_FALSE(migrate(database_->options(), quick()).changed)
        << "a newer version may drop what is legacy today";
}

TEST_F(SchemaLayout, TooOldForAnybody) {
    build("postgres-catalog-v99.json");
    connection_->script("DROP TABLE dbos.queues; UPDATE dbos.dbos_migrations SET version = 20");
    EXPECT_THAT(config_error([&] { sysdb::probe(*connection_, "dbos"); }),
                AllOf(HasSubstr("version 20"), HasSubstr("queues"), HasSubstr("run_migrations")));
}

TEST_F(SchemaLayout, MissingSchemaAndMissingTables) {
    EXPECT_THAT(config_error([&] { sysdb::probe(*connection_, "elsewhere"); }),
                AllOf(HasSubstr("not initialised"), HasSubstr("\"elsewhere\"")));
    connection_->script("CREATE SCHEMA dbos");
    EXPECT_THAT(config_error([&] { sysdb::probe(*connection_, "dbos"); }),
                AllOf(HasSubstr("not initialised"), HasSubstr("\"dbos\""), HasSubstr("dbos_migrations")));
    const SqliteFile file;
    const auto sqlite = file.connect();
    EXPECT_THAT(config_error([&] { sysdb::probe(*sqlite, ""); }), HasSubstr("not initialised"));
}

TEST_F(SchemaLayout, ShardedIsRefusedByProbeAndMigration) {
    build("postgres-catalog.json");
    connection_->script("ALTER TABLE dbos.workflow_status ADD COLUMN shard_key TEXT");
    EXPECT_THAT(config_error([&] { sysdb::probe(*connection_, "dbos"); }), HasSubstr("sharded"));
    EXPECT_THAT(config_error([&] { migrate(database_->options(), quick()); }), HasSubstr("sharded"));
    EXPECT_EQ(scalar(*connection_, "SELECT to_regclass('dbos.dbos_cpp_executors') IS NULL"), "t");
}

TEST_F(SchemaLayout, ForbiddenTablesAreNamedWithTheGrant) {
    migrate(database_->options(), quick());
    EXPECT_THAT(probe_refusal(), AllOf(HasSubstr("GRANT USAGE ON SCHEMA \"dbos\" TO \"" + role_ + "\"")));
    grant("ALL TABLES IN SCHEMA dbos");
    connection_->script("REVOKE ALL ON dbos.workflow_input, dbos.workflow_output FROM " + role_);
    const std::string refusal = probe_refusal();
    EXPECT_THAT(
        refusal,
        HasSubstr(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON \"dbos\".workflow_input, \"dbos\".workflow_output"));
    connection_->script(refusal.substr(refusal.find("GRANT")));
    EXPECT_EQ(probe_refusal(), "no ConfigError");
}

TEST_F(SchemaLayout, ForbiddenVersionIsNotReadAsZero) {
    migrate(database_->options(), quick());
    grant("ALL TABLES IN SCHEMA dbos");
    connection_->script("REVOKE ALL ON dbos.dbos_migrations FROM " + role_);
    EXPECT_THAT(probe_refusal(), HasSubstr("dbos_migrations"));
    EXPECT_THAT(config_error([&] { migrate(database_->options("dbos", role_), quick()); }),
                AllOf(HasSubstr("dbos_migrations"), HasSubstr("GRANT")));
}

TEST_F(SchemaLayout, NewerDatabaseIsLeftAlone) {
    migrate(database_->options(), quick());
    connection_->script(
        "UPDATE dbos.dbos_migrations SET version = 200; ALTER TABLE dbos.queues ADD COLUMN novelty TEXT");
    const Json before = dump_postgres(*connection_, "dbos");
    const auto result = migrate(database_->options(), quick());
    EXPECT_EQ(result.found, 200);
    EXPECT_EQ(result.version, 200);
    EXPECT_FALSE(result.changed);
    EXPECT_EQ(difference(before, dump_postgres(*connection_, "dbos")), "");
    EXPECT_EQ(scalar(*connection_, "SELECT version FROM dbos.dbos_migrations"), "200");
    EXPECT_EQ(sysdb::probe(*connection_, "dbos").version, 200);
    connection_->script("ALTER TABLE dbos.notifications DROP COLUMN consumed");
    EXPECT_THAT(config_error([&] { migrate(database_->options(), quick()); }),
                HasSubstr("notifications.consumed"));
}

TEST_F(SchemaLayout, OwnTableIsCreatedOnANewerDatabase) {
    migrate(database_->options(), quick());
    connection_->script("UPDATE dbos.dbos_migrations SET version = 200; DROP TABLE dbos.dbos_cpp_executors");
    EXPECT_TRUE(migrate(database_->options(), quick()).changed);
    EXPECT_TRUE(sysdb::probe(*connection_, "dbos").executors_permitted);
    EXPECT_EQ(scalar(*connection_, "SELECT version FROM dbos.dbos_migrations"), "200");
}

TEST_F(SchemaLayout, OwnTableOfAnEarlierReleaseGrows) {
    migrate(database_->options(), quick());
    connection_->script("ALTER TABLE dbos.dbos_cpp_executors DROP COLUMN lease_ms");
    EXPECT_FALSE(sysdb::probe(*connection_, "dbos").executors);
    EXPECT_TRUE(migrate(database_->options(), quick()).changed);
    EXPECT_TRUE(sysdb::probe(*connection_, "dbos").executors);
}

TEST_F(SchemaLayout, RoleWithoutCreate) {
    // Everything is there: nothing to create, so no right to create is needed.
    migrate(database_->options(), quick());
    grant("ALL TABLES IN SCHEMA dbos");
    EXPECT_FALSE(migrate(database_->options("dbos", role_), quick()).changed);

    // Our table is missing: the error holds the SQL that mends it.
    connection_->script("DROP TABLE dbos.dbos_cpp_executors");
    const std::string refusal = config_error([&] { migrate(database_->options("dbos", role_), quick()); });
    ASSERT_THAT(refusal,
                AllOf(HasSubstr("CREATE TABLE"), HasSubstr("GRANT"), HasSubstr("owner of the schema")));
    connection_->script(refusal.substr(refusal.find("CREATE TABLE")));
    EXPECT_FALSE(migrate(database_->options("dbos", role_), quick()).changed);

    // An older schema cannot be upgraded.
    connection_->script("UPDATE dbos.dbos_migrations SET version = 123");
    EXPECT_THAT(config_error([&] { migrate(database_->options("dbos", role_), quick()); }),
                AllOf(HasSubstr("123"), HasSubstr("125"), HasSubstr(role_)));
    const std::string cure = config_error([&] { migrate(database_->options("fresh", role_), quick()); });
    EXPECT_THAT(cure, AllOf(HasSubstr("\"fresh\""), HasSubstr("may CREATE in this database"),
                            Not(HasSubstr("dbosx"))));
    // What the sentence says is enough: launched once by a role that may, and the rights that it names.
    migrate(database_->options("fresh"), quick());
    connection_->script(cure.substr(cure.find("GRANT USAGE")));
    EXPECT_FALSE(migrate(database_->options("fresh", role_), quick()).changed);
    const auto connection = database_->connect("fresh", role_);
    EXPECT_NO_THROW(sysdb::require_app_floor(sysdb::probe(*connection, "fresh")));
}

TEST_F(SchemaLayout, OwnTableWithoutRights) {
    migrate(database_->options(), quick());
    grant("ALL TABLES IN SCHEMA dbos");
    connection_->script("REVOKE ALL ON dbos.dbos_cpp_executors FROM " + role_);
    const auto connection = database_->connect("dbos", role_);
    const sysdb::Layout layout = sysdb::probe(*connection, "dbos");
    EXPECT_TRUE(layout.executors);
    EXPECT_FALSE(layout.executors_permitted);
    const std::string refusal = config_error([&] { sysdb::require_app_floor(layout); });
    EXPECT_THAT(refusal, HasSubstr("GRANT SELECT, INSERT, UPDATE, DELETE ON \"dbos\".dbos_cpp_executors"));
    EXPECT_THAT(config_error([&] { migrate(*connection, "dbos", quick()); }), HasSubstr("GRANT"));
    connection_->script(refusal.substr(refusal.find("GRANT")));
    EXPECT_NO_THROW(sysdb::require_app_floor(sysdb::probe(*connection, "dbos")));
}

TEST_F(SchemaLayout, ApplicationRoleGetsEverything) {
    sysdb::MigrateOptions options = quick();
    options.application_role = role_;
    migrate(database_->options(), options);
    const auto connection = database_->connect("dbos", role_);
    EXPECT_NO_THROW(sysdb::require_app_floor(sysdb::probe(*connection, "dbos")));
    EXPECT_NE(scalar(*connection, "SELECT dbos.enqueue_workflow('w', 'q')"), "");
    migrate(database_->options(), options);  // granting again is harmless
}

}  // namespace
}  // namespace dbos::schema_test
