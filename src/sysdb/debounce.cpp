// Debouncing by delay (client-operations.md 11): the workflow itself waits DELAYED, and each call puts it off.
#include "sysdb/claim_sql.hpp"
#include "sysdb/database.hpp"
#include "sysdb/in_transaction.hpp"
#include "sysdb/managed_write.hpp"

namespace dbos::sysdb {
namespace {

/// A text and its parameters.
struct Built {
    std::string text;
    sql::Params params;
    std::string add(sql::Param value, const char* type = "TEXT") {
        params.push_back(std::move(value));
        return "CAST($" + std::to_string(params.size()) + " AS " + type + ")";
    }
};

class Debounce {
   public:
    Debounce(SystemDatabase::Core& core, sql::Connection& connection, const Layout& layout,
             const DebounceCall& call)
        : core_(core),
          connection_(connection),
          layout_(layout),
          call_(call),
          class_name_(call.row.class_name.value_or("")),
          postgres_(connection.backend() == sql::Backend::postgres) {}

    /// In the open transaction. Nothing was written unless it says `bounced` or `started` with a row created.
    DebounceResult run() {
        if (auto id = bounce())
            return {.kind = DebounceResult::Kind::bounced,
                    .workflow_id = std::move(*id),
                    .start = {},
                    .wrote = true};
        if (auto other = holder()) return std::move(*other);
        DebounceResult result;
        result.kind = DebounceResult::Kind::started;
        result.start = start_in(core_, connection_, layout_, std::span(&call_.row, 1), true).front();
        result.wrote = result.start.kind == StartResult::Kind::created;
        if (result.wrote) {
            connection_.query(
                "UPDATE @workflow_status SET is_debounced = TRUE, debounce_deadline_epoch_ms = CAST($2 AS "
                "BIGINT) "
                "WHERE workflow_uuid = CAST($1 AS TEXT)",
                {std::string_view(call_.row.workflow_id), sql::opt(call_.deadline_ms)}, sql::Access::write);
        }
        return result;
    }

   private:
    std::optional<std::string> bounce() {
        const NewWorkflow& row = call_.row;
        Built q;
        // A CASE, because SQLite has no LEAST. The first call's deadline stands; this call's own timeout is of no meaning.
        const std::string until = q.add(call_.bounce_until_ms, "BIGINT");
        q.text =
            "UPDATE @workflow_status SET delay_until_epoch_ms = CASE WHEN debounce_deadline_epoch_ms < " +
            until + " THEN debounce_deadline_epoch_ms ELSE " + until +
            " END, serialization = " + q.add(std::string_view(row.serialization)) +
            ", updated_at = " + (postgres_ ? DBOS_CLOCK_PG : q.add(core_.clock.now_ms(), "BIGINT"));
        if (!layout_.payload_tables) q.text += ", inputs = " + q.add(std::string_view(row.inputs));
        const std::string owner = layout_.ownership ? q.add(sql::opt(row.application_name)) : "";
        if (layout_.ownership) q.text += ", application_name = COALESCE(application_name, " + owner + ")";
        q.text += " WHERE queue_name = " + q.add(sql::opt(row.queue_name)) +
                  " AND deduplication_id = " + q.add(sql::opt(row.deduplication_id)) +
                  " AND name = " + q.add(std::string_view(row.name)) +
                  " AND status = 'DELAYED' AND is_debounced";
        if (call_.compare_class)
            q.text += " AND COALESCE(class_name, '') = " + q.add(std::string_view(class_name_));
        if (layout_.ownership)
            q.text += " AND (" + owner +
                      " IS NULL OR application_name IS NULL OR application_name = " + owner + ")";
        q.text += " RETURNING workflow_uuid";
        const sql::Result hit = connection_.query(q.text, q.params, sql::Access::write);
        if (hit.empty()) return std::nullopt;
        std::string id = hit.at(0, 0).string();
        if (layout_.payload_tables) {
            connection_.query(
                "INSERT INTO @workflow_input (workflow_uuid, inputs) VALUES (CAST($1 AS TEXT), CAST($2 AS "
                "TEXT)) "
                "ON CONFLICT (workflow_uuid) DO UPDATE SET inputs = excluded.inputs",
                {std::string_view(id), std::string_view(row.inputs)}, sql::Access::write);
        }
        return id;
    }

    std::optional<DebounceResult> holder() {
        const NewWorkflow& row = call_.row;
        const sql::Result found =
            connection_.query(std::string("SELECT workflow_uuid, is_debounced, name, class_name, ") +
                                  (layout_.ownership ? "application_name" : "NULL") +
                                  " FROM @workflow_status WHERE queue_name = CAST($1 AS TEXT) AND "
                                  "deduplication_id = CAST($2 AS TEXT)",
                              {sql::opt(row.queue_name), sql::opt(row.deduplication_id)});
        if (found.empty()) return std::nullopt;
        const Text owner = found.at(0, 4).optional_text();
        const bool ours = found.at(0, 1).boolean() && found.at(0, 2).text() == row.name &&
                          (!call_.compare_class || found.at(0, 3).text() == class_name_) &&
                          (!owner || !row.application_name || *owner == *row.application_name);
        DebounceResult result;
        result.kind = ours ? DebounceResult::Kind::starting : DebounceResult::Kind::held;
        result.workflow_id = found.at(0, 0).string();
        return result;
    }

    SystemDatabase::Core& core_;
    sql::Connection& connection_;
    const Layout& layout_;
    const DebounceCall& call_;
    const std::string class_name_;
    const bool postgres_;
};

void check_layout(const Layout& layout) {
    if (layout.debounce && layout.delay) return;
    throw ConfigError("debounce: this system database (version " + std::to_string(layout.version) +
                      ") is from before debouncing by delay; migrate it to version 42 or newer");
}

/// Ends an attempt that is not to leave anything.
struct NotNow {};

}  // namespace

DebounceResult SystemDatabase::debounce(const DebounceCall& call) {
    bool put_off = false;  // an attempt before this one may have been committed as a put-off
    return core_->with_connection([&](sql::Connection& connection, const Attempt& attempt) {
        if (attempt.ambiguous && put_off) {
            throw OutcomeUnknown(
                "debounce: the connection was lost when the workflow under \"" +
                    call.row.deduplication_id.value_or("") +
                    "\" was put off; whether it has the new arguments is not known. Call again: "
                    "the last arguments win",
                call.row.workflow_id);
        }
        const Layout layout = core_->layout(connection);
        check_layout(layout);
        sql::Transaction transaction(connection);
        DebounceResult result = Debounce(*core_, connection, layout, call).run();
        put_off = result.kind == DebounceResult::Kind::bounced;
        if (result.wrote) {
            transaction.commit();
        } else {
            transaction.rollback();
        }
        return result;
    });
}

DebounceResult SystemDatabase::debounce(const DebounceCall& call, Gate& gate, const DebounceOutput& output) {
    DebounceResult result;
    try {
        managed_write(*core_, {.name = "debounce", .gate = &gate}, [&](ManagedWrite& write) {
            check_layout(write.layout);
            write.lock({});
            result = Debounce(*core_, write.connection, write.layout, call).run();
            const Text told = output(result);
            if (!told) throw NotNow();
            result.wrote = true;
            // It was inserted before it was known what it is to hold: the gate stands before every write.
            const bool child = result.kind == DebounceResult::Kind::started &&
                               result.start.kind == StartResult::Kind::created;
            write.write(
                "UPDATE @operation_outputs SET output = CAST($3 AS TEXT), child_workflow_id = CAST($4 AS "
                "TEXT) "
                "WHERE workflow_uuid = CAST($1 AS TEXT) AND function_id = CAST($2 AS INTEGER)",
                {std::string_view(gate.fence.workflow_id), std::int64_t{gate.checkpoint.function_id},
                 sql::opt(told), child ? sql::Param(std::string_view(call.row.workflow_id)) : sql::Param()});
        });
    } catch (const NotNow&) {
        result.wrote = false;
    }
    return result;
}

}  // namespace dbos::sysdb
