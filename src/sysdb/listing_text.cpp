#include "sysdb/listing_text.hpp"

#include "sysdb/claim_sql.hpp"

namespace dbos::sysdb {

const sql::Statement kListingTimeout{
    "listing_timeout", "SELECT set_config('statement_timeout', $1::text, true)", sql::Access::read};

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

std::string version_column(const Layout& layout) {
    return layout.payload_tables ? "NULL" : "(SELECT max(version) FROM @dbos_migrations)";
}

void ConditionText::filters(const ListQuery& query) {
    one_of("ws.workflow_uuid", query.workflow_ids);
    one_of("ws.status", query.status);
    one_of("ws.name", query.name);
    one_of("ws.class_name", query.class_name);
    one_of("ws.config_name", query.config_name);
    one_of("ws.application_version", query.app_version);
    one_of("ws.forked_from", query.forked_from);
    one_of("ws.parent_workflow_id", query.parent_workflow_id);
    one_of("ws.authenticated_user", query.user);
    one_of("ws.queue_name", query.queue_name);
    one_of("ws.deduplication_id", query.deduplication_id);
    one_of("ws.executor_id", query.executor_id);
    one_of(layout_.schedule_name ? "ws.schedule_name" : nullptr, query.schedule_name);
    one_of(layout_.ownership ? "ws.application_name" : nullptr, query.application_name, true);
    prefixes("ws.workflow_uuid", query.workflow_id_prefix);
    bound("ws.created_at", ">=", query.created_from);
    bound("ws.created_at", "<=", query.created_to);
    bound(layout_.completed_at ? "ws.completed_at" : nullptr, ">=", query.completed_from);
    bound(layout_.completed_at ? "ws.completed_at" : nullptr, "<=", query.completed_to);
    bound("ws.started_at_epoch_ms", ">=", query.dequeued_from);
    bound("ws.started_at_epoch_ms", "<=", query.dequeued_to);
    flags(query);
    if (query.attributes) {
        if (layout_.attributes) {
            also("ws.attributes @> $" + add(std::string_view(*query.attributes)) + "::jsonb");
        } else {
            also("1 = 0");
        }
    }
}

void ConditionText::flags(const ListQuery& query) {
    flag("ws.was_forked_from", query.was_forked_from);
    flag(layout_.debounce ? "ws.is_debounced" : nullptr, query.is_debounced);
    const auto present = [this](const char* column, const std::optional<bool>& wanted) {
        if (wanted) also(std::string(column) + (*wanted ? " IS NOT NULL" : " IS NULL"));
    };
    present("ws.parent_workflow_id", query.has_parent);
    present("ws.forked_from", query.is_fork);
    if (query.queues_only) {
        also("ws.queue_name IS NOT NULL");
        also("ws.status IN ('DELAYED', 'ENQUEUED', 'PENDING')");
    }
}

void ConditionText::also(const std::string& condition) {
    where_ += where_.empty() ? " WHERE " : " AND ";
    where_ += condition;
}

std::string ConditionText::add(sql::Param param) {
    params_.push_back(std::move(param));
    return std::to_string(params_.size());
}

void ConditionText::one_of(const char* column, const ListQuery::Texts& texts, bool null_matches) {
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

void ConditionText::prefixes(const char* column, const ListQuery::Texts& prefixes) {
    if (!prefixes) return;
    std::string any;
    for (const std::string& prefix : *prefixes) {
        if (prefix.empty()) continue;  // no id is empty, and "" must not list everybody
        const std::string n = '$' + add(std::string_view(prefix));
        if (!any.empty()) any += " OR ";
        // Not LIKE: it folds case on SQLite.
        any += backend_ == sql::Backend::postgres
                   ? "starts_with(" + std::string(column) + ", " + n + "::text)"
                   : "substr(" + std::string(column) + ", 1, length(" + n + ")) = " + n;
    }
    also(any.empty() ? "1 = 0" : '(' + any + ')');
}

void ConditionText::bound(const char* column, const char* comparison, const std::optional<Millis>& value) {
    if (!value) return;
    if (column == nullptr) return also("1 = 0");
    also(std::string(column) + ' ' + comparison + " $" + add(*value) + cast());
}

void ConditionText::flag(const char* column, const std::optional<bool>& value) {
    if (!value) return;
    if (column == nullptr) {  // false in every row
        if (*value) also("1 = 0");
        return;
    }
    also((*value ? "" : "NOT ") + std::string(column));
}

}  // namespace dbos::sysdb
