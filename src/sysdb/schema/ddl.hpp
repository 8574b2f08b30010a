// DDL texts made from the catalog. Names of tables, indexes and functions come out qualified and quoted, so the texts need no
// expansion by the driver and can be shown to a user as they are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sql/connection.hpp"
#include "sysdb/schema/catalog.hpp"

namespace dbos::sysdb::schema {

/// Where the texts shall run.
struct Target {
    sql::Backend backend = sql::Backend::postgres;
    std::string schema = "dbos";  // PostgreSQL
    bool cockroach = false;       // no CONCURRENTLY, no triggers, no settings on functions

    bool sqlite() const noexcept { return backend == sql::Backend::sqlite; }
    /// "schema".name on PostgreSQL, name on SQLite.
    std::string name(std::string_view object) const;
};

/// "a""b"
std::string quote_name(std::string_view name);
/// 'it''s'
std::string quote_literal(std::string_view text);

/// Which columns a CREATE TABLE holds.
enum class Shape : std::uint8_t {
    final,  // all of version 125
    base    // those of the tables and columns below the shared migrations (version 99)
};

/// `name TYPE NOT NULL DEFAULT …`
std::string column_definition(const Target& target, const Column& column);
/// CREATE TABLE [IF NOT EXISTS] with keys, without a final semicolon.
std::string create_table(const Target& target, const Table& table, Shape shape, bool if_not_exists,
                         std::string_view as_name = {});
/// ALTER TABLE … ADD COLUMN [IF NOT EXISTS: PostgreSQL].
std::string add_column(const Target& target, const Table& table, const Column& column);
/// ALTER TABLE … ADD FOREIGN KEY of a table with a workflow key (PostgreSQL).
std::string add_foreign_key(const Target& target, const Table& table);
/// CREATE [UNIQUE] INDEX [CONCURRENTLY] IF NOT EXISTS.
std::string create_index(const Target& target, const Index& index, bool concurrently);
/// DROP INDEX [CONCURRENTLY] IF EXISTS.
std::string drop_index(const Target& target, std::string_view name, bool concurrently);

/// The forms of enqueue_workflow since version 99. All have the same behaviour towards their callers.
enum class EnqueueForm : std::uint8_t {
    base,      // 16 parameters; inputs in workflow_status (version 99)
    named,     // 17 parameters with application_name; inputs in workflow_status (105)
    payloads,  // 17 parameters; inputs in workflow_input (113)
};
/// CREATE OR REPLACE FUNCTION enqueue_workflow.
std::string enqueue_function(const Target& target, EnqueueForm form);
/// DROP FUNCTION IF EXISTS of the forms with 13 and 16 parameters.
std::string drop_old_enqueue_functions(const Target& target, bool thirteen, bool sixteen);
std::string send_function(const Target& target);
std::string drop_send_function(const Target& target);
/// notifications_function; a database made without LISTEN/NOTIFY has none, and no trigger.
std::string notify_function(const Target& target);
std::string notify_trigger(const Target& target);

/// Records a version, and never lowers it: an INSERT if the table is empty, else an UPDATE of a smaller number.
std::string record_version(const Target& target, int version);

/// Everything of a database at version 125, for one transaction. The schema itself is created by the caller.
std::string create_everything(const Target& target);

}  // namespace dbos::sysdb::schema
