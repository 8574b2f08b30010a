#include "sysdb/listing.hpp"

#include "dbos/error.hpp"
#include "sysdb/claim_sql.hpp"
#include "sysdb/database.hpp"
#include "sysdb/listing_text.hpp"

namespace dbos::sysdb {
namespace {

/// Runs `read(layout)`, which returns a result whose last column is version_column(); again if the layout changed.
template <class F>
sql::Result with_version(SystemDatabase::Core& core, sql::Connection& connection, F&& read) {
    for (int round = 0;; ++round) {
        const Layout layout = core.layout(connection);
        try {
            sql::Result result = read(layout);
            if (layout.payload_tables || result.empty() || round == 2) return result;
            const auto version = result.at(0, result.columns() - 1).optional_integer();
            if (!version || *version == layout.version) return result;
        } catch (const DatabaseError& error) {
            if (error.kind() != DatabaseErrorKind::undefined_object || round > 0 ||
                connection.in_transaction())
                throw;
        }
        core.forget_layout();
    }
}

/// Builds the one SELECT of a listing.
class ListingText {
   public:
    ListingText(const ListQuery& query, const Layout& layout, sql::Backend backend)
        : query_(query), layout_(layout), backend_(backend), conditions_(layout, backend) {}

    std::string build() {
        text_ = "SELECT ";
        columns();
        text_ += " FROM @workflow_status ws";
        if (layout_.payload_tables && query_.load_input) {
            text_ += " LEFT JOIN @workflow_input wi ON wi.workflow_uuid = ws.workflow_uuid";
        }
        if (layout_.payload_tables && query_.load_output) {
            text_ += " LEFT JOIN @workflow_output wo ON wo.workflow_uuid = ws.workflow_uuid";
        }
        conditions_.filters(query_);
        text_ += conditions_.where();
        const char* order = query_.descending ? " DESC" : "";
        text_ += std::string(" ORDER BY ws.created_at") + order + ", ws.workflow_uuid" + order;
        bounds();
        return std::move(text_);
    }
    const sql::Params& params() const noexcept { return conditions_.params(); }

   private:
    void columns() {
        const auto if_there = [](bool there, const char* expression) {
            return std::string(there ? expression : "NULL");
        };
        text_ +=
            "ws.workflow_uuid, ws.status, ws.name, ws.class_name, ws.config_name, ws.authenticated_user, "
            "ws.assumed_role, "
            "ws.authenticated_roles, ";
        text_ += (query_.load_input ? payload(layout_, "wi", "inputs") : "NULL") + ", ";
        text_ += (query_.load_output ? payload(layout_, "wo", "output") : "NULL") + ", ";
        text_ += (query_.load_output ? payload(layout_, "wo", "error") : "NULL") + ", ";
        text_ +=
            "ws.serialization, ws.created_at, ws.updated_at, ws.queue_name, ws.executor_id, "
            "ws.application_version, "
            "ws.application_id, ws.workflow_timeout_ms, ws.workflow_deadline_epoch_ms, ws.deduplication_id, "
            "ws.priority, "
            "ws.queue_partition_key, ws.forked_from, ws.was_forked_from, ws.parent_workflow_id, "
            "ws.started_at_epoch_ms, ";
        text_ += if_there(layout_.delay, "ws.delay_until_epoch_ms") + ", ";
        text_ += if_there(layout_.completed_at, "ws.completed_at") + ", ";
        text_ += if_there(layout_.attributes,
                          backend_ == sql::Backend::postgres ? "ws.attributes::text" : "ws.attributes");
        text_ += ", " + if_there(layout_.schedule_name, "ws.schedule_name");
        text_ += ", " + if_there(layout_.ownership, "ws.application_name");
        text_ += ", ws.recovery_attempts, " + version_column(layout_);
    }

    void bounds() {
        if (query_.limit) {
            text_ += " LIMIT $" + conditions_.add(*query_.limit) + conditions_.cast();
        } else if (query_.offset && backend_ == sql::Backend::sqlite) {
            text_ += " LIMIT -1";
        }
        if (query_.offset) text_ += " OFFSET $" + conditions_.add(*query_.offset) + conditions_.cast();
    }

    const ListQuery& query_;
    const Layout& layout_;
    const sql::Backend backend_;
    ConditionText conditions_;
    std::string text_;
};

ListedWorkflow listed(const sql::Result& rows, std::size_t row) {
    std::size_t column = 0;
    const auto text = [&] { return rows.at(row, column++).optional_text(); };
    const auto number = [&] { return rows.at(row, column++).optional_integer(); };
    ListedWorkflow item;
    item.workflow_id = text().value_or("");
    item.status = text().value_or("");
    item.name = text().value_or("");
    item.class_name = text();
    item.config_name = text();
    item.authenticated_user = text();
    item.assumed_role = text();
    item.authenticated_roles = text();
    item.inputs = text();
    item.output = text();
    item.error = text();
    item.serialization = text();
    item.created_at = number().value_or(0);
    item.updated_at = number().value_or(0);
    item.queue_name = text();
    item.executor_id = text();
    item.application_version = text();
    item.application_id = text();
    item.timeout_ms = number();
    item.deadline_ms = number();
    item.deduplication_id = text();
    item.priority = number().value_or(0);
    item.queue_partition_key = text();
    item.forked_from = text();
    item.was_forked_from = rows.at(row, column++).boolean();
    item.parent_workflow_id = text();
    item.started_at_ms = number();
    item.delay_until_ms = number();
    item.completed_at_ms = number();
    item.attributes = text();
    item.schedule_name = text();
    item.application_name = text();
    item.recovery_attempts = number().value_or(0);
    return item;
}

}  // namespace

StepRecord read_step(const sql::Result& result, std::size_t row, std::size_t column) {
    StepRecord step;
    step.function_id = static_cast<std::int32_t>(result.at(row, column++).integer());
    step.function_name = result.at(row, column++).string();
    step.child_workflow_id = result.at(row, column++).optional_text();
    step.started_at_ms = result.at(row, column++).optional_integer();
    step.completed_at_ms = result.at(row, column++).optional_integer();
    step.serialization = result.at(row, column++).optional_text();
    step.output = result.at(row, column++).optional_text();
    step.error = result.at(row, column).optional_text();
    return step;
}

std::vector<ListedWorkflow> SystemDatabase::list_workflows(const ListQuery& query) {
    // Reads addressed by id are exempt from the limit of time: they cannot be slow.
    const bool timed = backend() == sql::Backend::postgres && query.timeout_ms > 0 && !query.workflow_ids;
    return core_->with_connection([&](sql::Connection& connection) {
        const std::string limit = std::to_string(query.timeout_ms);
        const sql::Result rows = with_version(*core_, connection, [&](const Layout& layout) {
            ListingText builder(query, layout, connection.backend());
            const std::string text = builder.build();
            if (!timed) return connection.query(text, builder.params());
            sql::Transaction transaction(connection, sql::Isolation::read_only);
            connection.execute(kListingTimeout, {std::string_view(limit)});
            sql::Result result = connection.query(text, builder.params());
            transaction.commit();
            return result;
        });
        std::vector<ListedWorkflow> items;
        items.reserve(rows.size());
        for (std::size_t row = 0; row < rows.size(); ++row) items.push_back(listed(rows, row));
        return items;
    });
}

std::vector<StepRecord> SystemDatabase::list_steps(const StepQuery& query) {
    return core_->with_connection([&](sql::Connection& connection) {
        const bool postgres = connection.backend() == sql::Backend::postgres;
        core_->layout(connection);  // a database that is not initialised is told by its sentence
        std::string text =
            "SELECT function_id, function_name, child_workflow_id, started_at_epoch_ms, "
            "completed_at_epoch_ms, "
            "serialization, ";
        text += query.load_output ? "output, error" : "NULL, NULL";
        text += " FROM @operation_outputs WHERE workflow_uuid = $1 ORDER BY function_id";
        sql::Params params{std::string_view(query.workflow_id)};
        const auto bound = [&](const char* keyword, std::int64_t value) {
            params.emplace_back(value);
            text += keyword + std::to_string(params.size()) + (postgres ? "::bigint" : "");
        };
        if (query.limit) bound(" LIMIT $", *query.limit);
        if (query.offset && !query.limit && !postgres) text += " LIMIT -1";
        if (query.offset) bound(" OFFSET $", *query.offset);
        const sql::Result rows = connection.query(text, params);
        std::vector<StepRecord> steps;
        steps.reserve(rows.size());
        for (std::size_t row = 0; row < rows.size(); ++row) steps.push_back(read_step(rows, row, 0));
        return steps;
    });
}

std::vector<std::pair<std::string, std::string>> wait_statuses(sql::Connection& connection,
                                                               std::span<const std::string> ids) {
    const std::string text = "SELECT ws.workflow_uuid, ws.status FROM @workflow_status ws WHERE " +
                             is_one_of(connection.backend(), "ws.workflow_uuid", 1);
    const sql::Result rows = connection.query(text, {text_array(ids)});
    std::vector<std::pair<std::string, std::string>> statuses;
    statuses.reserve(rows.size());
    for (std::size_t row = 0; row < rows.size(); ++row) {
        statuses.emplace_back(rows.at(row, 0).string(), rows.at(row, 1).string());
    }
    return statuses;
}

std::vector<std::pair<std::string, std::int64_t>> wait_sizes(SystemDatabase::Core& core,
                                                             sql::Connection& connection,
                                                             std::span<const std::string> ids) {
    const sql::Result rows = with_version(core, connection, [&](const Layout& layout) {
        // SQLite counts characters, which is near enough for a limit.
        const char* length = connection.backend() == sql::Backend::postgres ? "octet_length(" : "length(";
        const auto size = [&](const char* column) {
            return "COALESCE(" + std::string(length) + payload(layout, "wo", column) + "), 0)";
        };
        std::string text = "SELECT ws.workflow_uuid, " + size("output") + " + " + size("error") + ", " +
                           version_column(layout) + " FROM @workflow_status ws";
        if (layout.payload_tables)
            text += " LEFT JOIN @workflow_output wo ON wo.workflow_uuid = ws.workflow_uuid";
        text += " WHERE " + is_one_of(connection.backend(), "ws.workflow_uuid", 1);
        return connection.query(text, {text_array(ids)});
    });
    std::vector<std::pair<std::string, std::int64_t>> sizes;
    sizes.reserve(rows.size());
    for (std::size_t row = 0; row < rows.size(); ++row) {
        sizes.emplace_back(rows.at(row, 0).string(), rows.at(row, 1).integer());
    }
    return sizes;
}

std::vector<ResultRow> wait_results(SystemDatabase::Core& core, sql::Connection& connection,
                                    std::span<const std::string> ids) {
    const sql::Result rows = with_version(core, connection, [&](const Layout& layout) {
        std::string text = "SELECT ws.workflow_uuid, ws.status, " + payload(layout, "wo", "output") + ", " +
                           payload(layout, "wo", "error") + ", ws.serialization, " + version_column(layout) +
                           " FROM @workflow_status ws";
        if (layout.payload_tables)
            text += " LEFT JOIN @workflow_output wo ON wo.workflow_uuid = ws.workflow_uuid";
        text += " WHERE " + is_one_of(connection.backend(), "ws.workflow_uuid", 1);
        return connection.query(text, {text_array(ids)});
    });
    std::vector<ResultRow> results;
    results.reserve(rows.size());
    for (std::size_t row = 0; row < rows.size(); ++row) {
        results.push_back({rows.at(row, 0).string(), rows.at(row, 1).string(),
                           rows.at(row, 2).optional_text(), rows.at(row, 3).optional_text(),
                           rows.at(row, 4).optional_text()});
    }
    return results;
}

}  // namespace dbos::sysdb
