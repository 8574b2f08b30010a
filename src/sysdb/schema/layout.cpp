#include "sysdb/schema/layout.hpp"

#include <string_view>

#include "dbos/error.hpp"
#include "sysdb/schema/catalog.hpp"
#include "sysdb/schema/ddl.hpp"
#include "sysdb/schema/state.hpp"

namespace dbos::sysdb {
namespace {

using schema::State;
using schema::Target;

// The oldest supported layout has the queues table (P 21, T 43). By columns, because the numbers differ by SDK.
void refuse_too_old(const State& state) {
    constexpr std::pair<std::string_view, std::string_view> kFloor[] = {
        {"workflow_status", "owner_xid"},
        {"workflow_status", "serialization"},
        {"workflow_status", "parent_workflow_id"},
        {"workflow_status", "delay_until_epoch_ms"},
        {"workflow_status", "was_forked_from"},
        {"operation_outputs", "completed_at_epoch_ms"},
        {"operation_outputs", "serialization"},
        {"notifications", "consumed"},
        {"workflow_events", "serialization"},
        {"workflow_events_history", "value"},
        {"streams", "function_id"},
        {"workflow_schedules", "queue_name"},
        {"application_versions", "version_name"},
        {"queues", "polling_interval_sec"},
    };
    for (const auto& [table, column] : kFloor) {
        if (state.has(table, column)) continue;
        throw ConfigError("system database version " + std::to_string(state.version) +
                          " is too old for this library: " + std::string(table) + "." + std::string(column) +
                          " is missing; launch an application of a current release (with run_migrations) "
                          "once to upgrade it, as a "
                          "role that owns its tables");
    }
}

/// Tables that are there but lack a right, as a list for GRANT.
std::string lacking(const State& state, const Target& target, bool schema::TableState::* right) {
    std::string names;
    for (const schema::Table& table : schema::tables()) {
        const schema::TableState* found = state.table(table.name);
        if (found == nullptr || found->*right || table.name == "event_dispatch_kv") continue;
        // Only who migrates writes it.
        if (right == &schema::TableState::writable && table.name == "dbos_migrations") continue;
        names += (names.empty() ? "" : ", ") + target.name(table.name);
    }
    return names;
}

std::string grant_all(const State& state, const std::string& names) {
    return "GRANT SELECT, INSERT, UPDATE, DELETE ON " + names + " TO " + schema::quote_name(state.role) + ";";
}

void refuse_not_permitted(const State& state, const Target& target) {
    const std::string names = lacking(state, target, &schema::TableState::readable);
    if (names.empty()) return;
    const bool plural = names.find(", ") != std::string::npos;
    throw ConfigError("role " + schema::quote_name(state.role) + " may not read " + names + "; run as " +
                      (plural ? "their" : "its") + " owner: " + grant_all(state, names));
}

void refuse_missing(const State& state, const Target& target) {
    if (target.sqlite()) {
        if (state.has("dbos_migrations")) return;
        throw ConfigError(
            "system database not initialised: the SQLite file has no table dbos_migrations; launch an "
            "application (with run_migrations) on it first");
    }
    if (!state.schema_exists) {
        throw ConfigError(
            "system database not initialised: there is no schema " + schema::quote_name(target.schema) +
            " in this database; check the database and schema names, or launch an application (with "
            "run_migrations) first, as a role that may CREATE in the database");
    }
    if (state.has("dbos_migrations")) return;
    throw ConfigError("system database not initialised: schema " + schema::quote_name(target.schema) +
                      " has no table dbos_migrations; check the schema name, or launch an application (with "
                      "run_migrations) first, as a role that may CREATE in the schema");
}

bool owned_everywhere(const State& state) {
    for (const char* table :
         {"workflow_status", "queues", "workflow_schedules", "application_versions", "operation_outputs"}) {
        if (!state.has(table, "application_name")) return false;
    }
    return true;
}

void look_at_executors(const State& state, const Target& target, Layout& layout) {
    const schema::Table& own = schema::executors_table();
    layout.executors = state.has_own_tables();
    const schema::TableState* found = state.table(own.name);
    layout.executors_permitted = layout.executors && found->readable && found->writable;
    if (layout.executors_permitted) return;
    if (found == nullptr)
        layout.executors_fix = schema::create_table(target, own, schema::Shape::final, false) + ";";
    if (found != nullptr) {
        for (const schema::Column& column : own.columns) {
            if (state.has(own.name, column.name)) continue;
            layout.executors_fix += schema::add_column(target, own, column) + ";\n";
        }
    }
    if (!target.sqlite()) {
        layout.executors_fix += (layout.executors_fix.empty() ? "" : "\n");
        layout.executors_fix += grant_all(state, target.name(own.name));
    }
}

}  // namespace

Layout probe(sql::Connection& connection, const std::string& schema_name) {
    return schema::layout_of(schema::read_state(connection, schema_name), schema_name);
}

Layout schema::layout_of(const State& state, const std::string& schema_name) {
    const Target target{state.backend, schema_name};
    refuse_missing(state, target);
    schema::refuse_unusable(state, schema_name);
    refuse_not_permitted(state, target);
    refuse_too_old(state);

    Layout layout;
    layout.version = state.version;
    layout.payload_tables = state.has("workflow_input") && state.has("workflow_output");
    layout.creator_token = state.has("workflow_status", "creator_xid");
    layout.ownership = owned_everywhere(state);
    layout.step_retention = state.has("operation_outputs", "retention_timestamp");
    layout.recv_marker = state.has("notifications", "consumed_by_function_id");
    layout.partition_limits = state.has("queues", "partition_concurrency") &&
                              state.has("queues", "partition_worker_concurrency") &&
                              state.has("queues", "partition_rate_limit_max") &&
                              state.has("queues", "partition_rate_limit_period_sec");
    layout.attributes = state.has("workflow_status", "attributes");
    layout.schedule_name = state.has("workflow_status", "schedule_name");
    layout.debounce = state.has("workflow_status", "is_debounced") &&
                      state.has("workflow_status", "debounce_deadline_epoch_ms");
    layout.delay = state.has("workflow_status", "delay_until_epoch_ms");
    layout.rate_limited = state.has("workflow_status", "rate_limited");
    layout.completed_at = state.has("workflow_status", "completed_at");
    layout.queues = state.has("queues");
    layout.schedules = state.has("workflow_schedules");
    layout.versions = state.has("application_versions");
    layout.legacy_payloads = state.has("workflow_status", "inputs") &&
                             state.has("workflow_status", "output") && state.has("workflow_status", "error");
    const std::string unwritable = lacking(state, target, &schema::TableState::writable);
    if (!unwritable.empty()) layout.write_fix = grant_all(state, unwritable);
    look_at_executors(state, target, layout);
    return layout;
}

void require_app_floor(const Layout& layout) {
    if (layout.version < schema::kAppFloor || !layout.creator_token || !layout.payload_tables) {
        throw ConfigError(
            "system database version " + std::to_string(layout.version) +
            " is too old for an application: " + std::to_string(schema::kAppFloor) +
            " or newer is needed; launch with run_migrations once, as a role that owns the tables");
    }
    if (!layout.write_fix.empty()) {
        throw ConfigError("an application writes tables that this role may not write; run as their owner: " +
                          layout.write_fix);
    }
    if (layout.executors_permitted) return;
    throw ConfigError(std::string("the table dbos_cpp_executors ") +
                      (layout.executors ? "is not permitted" : "is missing or incomplete") +
                      "; without it no other process can recover this one's work. Launch once with "
                      "run_migrations as the owner "
                      "of the schema, or run as the owner:\n" +
                      layout.executors_fix);
}

}  // namespace dbos::sysdb
