#include "sysdb/listing.hpp"

#include "dbos/error.hpp"
#include "sysdb/database.hpp"

namespace dbos::sysdb {
namespace {

sql::TextArray text_array(std::span<const std::string> texts) {
    sql::TextArray array;
    array.reserve(texts.size());
    for (const std::string& text : texts) array.emplace_back(text);
    return array;
}

/// `expression` is one of the texts of parameter `n`.
std::string is_one_of(sql::Backend backend, std::string_view expression, std::size_t n) {
    const std::string parameter = '$' + std::to_string(n);
    if (backend == sql::Backend::postgres)
        return std::string(expression) + " = ANY(" + parameter + "::text[])";
    return std::string(expression) + " IN (SELECT value FROM json_each(" + parameter + "))";
}

std::string payload(const Layout& layout, const char* table, const char* column) {
    std::string legacy = std::string("ws.") + column;
    if (!layout.payload_tables) return legacy;
    const std::string own = std::string(table) + '.' + column;
    return layout.legacy_payloads ? "COALESCE(" + own + ", " + legacy + ')' : own;
}

/// Layout A may become B under a living client (safety.md 31): the version of the same snapshot tells.
std::string version_column(const Layout& layout) {
    return layout.payload_tables ? "NULL" : "(SELECT max(version) FROM @dbos_migrations)";
}

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
        : query_(query), layout_(layout), backend_(backend) {}

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
        filters();
        const char* order = query_.descending ? " DESC" : "";
        text_ += std::string(" ORDER BY ws.created_at") + order + ", ws.workflow_uuid" + order;
        bounds();
        return std::move(text_);
    }
    const sql::Params& params() const noexcept { return params_; }

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

    void filters() {
        one_of("ws.workflow_uuid", query_.workflow_ids);
        one_of("ws.status", query_.status);
        one_of("ws.name", query_.name);
        one_of("ws.application_version", query_.app_version);
        one_of("ws.forked_from", query_.forked_from);
        one_of("ws.parent_workflow_id", query_.parent_workflow_id);
        one_of("ws.authenticated_user", query_.user);
        one_of("ws.queue_name", query_.queue_name);
        one_of("ws.executor_id", query_.executor_id);
        one_of(layout_.schedule_name ? "ws.schedule_name" : nullptr, query_.schedule_name);
        one_of(layout_.ownership ? "ws.application_name" : nullptr, query_.application_name, true);
        prefixes();
        bound("ws.created_at", ">=", query_.created_from);
        bound("ws.created_at", "<=", query_.created_to);
        bound(layout_.completed_at ? "ws.completed_at" : nullptr, ">=", query_.completed_from);
        bound(layout_.completed_at ? "ws.completed_at" : nullptr, "<=", query_.completed_to);
        bound("ws.started_at_epoch_ms", ">=", query_.dequeued_from);
        bound("ws.started_at_epoch_ms", "<=", query_.dequeued_to);
        if (query_.was_forked_from)
            also(*query_.was_forked_from ? "ws.was_forked_from" : "NOT ws.was_forked_from");
        if (query_.has_parent) {
            also(*query_.has_parent ? "ws.parent_workflow_id IS NOT NULL" : "ws.parent_workflow_id IS NULL");
        }
        if (query_.queues_only) {
            also("ws.queue_name IS NOT NULL");
            also("ws.status IN ('DELAYED', 'ENQUEUED', 'PENDING')");
        }
        if (query_.attributes) {
            if (layout_.attributes) {
                also("ws.attributes @> $" + add(std::string_view(*query_.attributes)) + "::jsonb");
            } else {
                also("1 = 0");
            }
        }
    }

    void also(const std::string& condition) {
        text_ += any_ ? " AND " : " WHERE ";
        text_ += condition;
        any_ = true;
    }
    std::string add(sql::Param param) {
        params_.push_back(std::move(param));
        return std::to_string(params_.size());
    }

    /// `column` nullptr: the database has none, so it is NULL in every row.
    void one_of(const char* column, const ListQuery::Texts& texts, bool null_matches = false) {
        if (!texts) return;
        bool null = null_matches;
        for (const std::string& text : *texts) null = null || text.empty();
        if (texts->empty()) return also("1 = 0");
        if (column == nullptr) {
            if (!null) also("1 = 0");
            return;
        }
        params_.emplace_back(text_array(*texts));
        const std::string among = is_one_of(backend_, column, params_.size());
        also(null ? '(' + among + " OR " + column + " IS NULL)" : among);
    }

    void prefixes() {
        if (!query_.workflow_id_prefix) return;
        std::string any;
        for (const std::string& prefix : *query_.workflow_id_prefix) {
            if (prefix.empty()) continue;  // no id is empty, and "" must not list everybody
            const std::string n = '$' + add(std::string_view(prefix));
            if (!any.empty()) any += " OR ";
            // Not LIKE: it folds case on SQLite.
            any += backend_ == sql::Backend::postgres
                       ? "starts_with(ws.workflow_uuid, " + n + "::text)"
                       : "substr(ws.workflow_uuid, 1, length(" + n + ")) = " + n;
        }
        also(any.empty() ? "1 = 0" : '(' + any + ')');
    }

    void bound(const char* column, const char* comparison, const std::optional<Millis>& value) {
        if (!value) return;
        if (column == nullptr) return also("1 = 0");
        also(std::string(column) + ' ' + comparison + " $" + add(*value) + cast());
    }

    void bounds() {
        if (query_.limit) {
            text_ += " LIMIT $" + add(*query_.limit) + cast();
        } else if (query_.offset && backend_ == sql::Backend::sqlite) {
            text_ += " LIMIT -1";
        }
        if (query_.offset) text_ += " OFFSET $" + add(*query_.offset) + cast();
    }

    const char* cast() const { return backend_ == sql::Backend::postgres ? "::bigint" : ""; }

    const ListQuery& query_;
    const Layout& layout_;
    const sql::Backend backend_;
    std::string text_;
    sql::Params params_;
    bool any_ = false;
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

constexpr sql::Statement kStatementTimeout{
    "listing_timeout", "SELECT set_config('statement_timeout', $1::text, true)", sql::Access::read};

StepRecord step(const sql::Result& rows, std::size_t row) {
    StepRecord record;
    record.function_id = static_cast<std::int32_t>(rows.at(row, 0).integer());
    record.function_name = rows.at(row, 1).string();
    record.output = rows.at(row, 2).optional_text();
    record.error = rows.at(row, 3).optional_text();
    record.child_workflow_id = rows.at(row, 4).optional_text();
    record.started_at_ms = rows.at(row, 5).optional_integer();
    record.completed_at_ms = rows.at(row, 6).optional_integer();
    record.serialization = rows.at(row, 7).optional_text();
    return record;
}

}  // namespace

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
            connection.execute(kStatementTimeout, {std::string_view(limit)});
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
        std::string text = "SELECT function_id, function_name, ";
        text += query.load_output ? "output, error, " : "NULL, NULL, ";
        text +=
            "child_workflow_id, started_at_epoch_ms, completed_at_epoch_ms, serialization FROM "
            "@operation_outputs "
            "WHERE workflow_uuid = $1 ORDER BY function_id";
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
        for (std::size_t row = 0; row < rows.size(); ++row) steps.push_back(step(rows, row));
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
