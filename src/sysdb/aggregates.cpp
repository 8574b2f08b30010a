// Groups of workflows and of steps (go: GetWorkflowAggregates, GetStepAggregates). Reads over many rows: in a read-only
// transaction with a limit of time, as listings.
#include "sysdb/claim_sql.hpp"
#include "sysdb/database.hpp"
#include "sysdb/listing_text.hpp"
#include "sysdb/manage.hpp"

namespace dbos::sysdb {
namespace {

/// The columns of one aggregate, in the order in which they are read again.
class Columns {
   public:
    void group(bool wanted, const std::string& expression) {
        if (!wanted) return;
        add(expression);
        groups_ += (groups_.empty() ? "" : ", ") + std::to_string(count_);
    }
    void value(bool wanted, const std::string& expression) {
        if (wanted) add(expression);
    }
    std::string text(const std::string& from) const {
        return "SELECT " + columns_ + from +
               (groups_.empty() ? "" : " GROUP BY " + groups_ + " ORDER BY " + groups_);
    }

   private:
    void add(const std::string& expression) {
        columns_ += (columns_.empty() ? "" : ", ") + expression;
        ++count_;
    }
    std::string columns_;
    std::string groups_;
    int count_ = 0;
};

/// floor(column / width) * width: `/` of integers rounds towards 0, and times are not negative.
std::string bucket(const char* column, Millis width) {
    const std::string text = std::to_string(width);
    return std::string("(") + column + " / " + text + ") * " + text;
}

/// Reads the columns of a row one by one; what was not asked for stays absent.
class Reader {
   public:
    Reader(const sql::Result& rows, std::size_t row) : rows_(rows), row_(row) {}
    void text(bool wanted, Text& into) {
        if (wanted) into = rows_.at(row_, column_++).optional_text();
    }
    void number(bool wanted, std::optional<std::int64_t>& into) {
        if (wanted) into = rows_.at(row_, column_++).optional_integer();
    }

   private:
    const sql::Result& rows_;
    std::size_t row_;
    std::size_t column_ = 0;
};

/// `text_of(layout, conditions)` makes the statement.
template <class F>
sql::Result timed(SystemDatabase::Core& core, Millis timeout_ms, F&& text_of) {
    return core.with_connection([&](sql::Connection& connection) {
        const Layout layout = core.layout(connection);
        ConditionText conditions(layout, connection.backend());
        const std::string text = text_of(layout, conditions);
        sql::Transaction transaction(connection, sql::Isolation::read_only);
        if (timeout_ms > 0 && connection.backend() == sql::Backend::postgres) {
            const std::string limit = std::to_string(timeout_ms);
            connection.execute(kListingTimeout, {std::string_view(limit)});
        }
        sql::Result result = connection.query(text, conditions.params());
        transaction.commit();
        return result;
    });
}

}  // namespace

std::vector<WorkflowAggregateRow> SystemDatabase::aggregate_workflows(const WorkflowAggregateQuery& query) {
    const sql::Result rows =
        timed(*core_, query.filter.timeout_ms, [&](const Layout& layout, ConditionText& conditions) {
            const auto if_there = [](bool there, const char* expression) {
                return std::string(there ? expression : "NULL");
            };
            Columns columns;
            columns.group(query.by_status, "ws.status");
            columns.group(query.by_name, "ws.name");
            columns.group(query.by_queue_name, "ws.queue_name");
            columns.group(query.by_executor_id, "ws.executor_id");
            columns.group(query.by_application_version, "ws.application_version");
            columns.group(query.by_application_name, if_there(layout.ownership, "ws.application_name"));
            columns.group(query.bucket_ms.has_value(), bucket("ws.created_at", query.bucket_ms.value_or(1)));
            columns.value(query.count, "count(*)");
            columns.value(query.min_created_at, "min(ws.created_at)");
            columns.value(query.max_queue_wait, "max(ws.started_at_epoch_ms - ws.created_at)");
            columns.value(query.max_latency,
                          if_there(layout.completed_at, "max(ws.completed_at - ws.created_at)"));
            conditions.filters(query.filter);
            return columns.text(" FROM @workflow_status ws" + conditions.where());
        });
    std::vector<WorkflowAggregateRow> groups(rows.size());
    for (std::size_t row = 0; row < rows.size(); ++row) {
        WorkflowAggregateRow& group = groups[row];
        Reader reader(rows, row);
        reader.text(query.by_status, group.status);
        reader.text(query.by_name, group.name);
        reader.text(query.by_queue_name, group.queue_name);
        reader.text(query.by_executor_id, group.executor_id);
        reader.text(query.by_application_version, group.application_version);
        reader.text(query.by_application_name, group.application_name);
        reader.number(query.bucket_ms.has_value(), group.bucket);
        reader.number(query.count, group.count);
        reader.number(query.min_created_at, group.min_created_at);
        reader.number(query.max_queue_wait, group.max_queue_wait_ms);
        reader.number(query.max_latency, group.max_latency_ms);
    }
    return groups;
}

std::vector<StepAggregateRow> SystemDatabase::aggregate_steps(const StepAggregateQuery& query) {
    // Go writes '' where there is no error.
    static constexpr const char* kStatus =
        "CASE WHEN COALESCE(o.error, '') = '' THEN 'SUCCESS' ELSE 'ERROR' END";
    const sql::Result rows =
        timed(*core_, query.timeout_ms, [&](const Layout& layout, ConditionText& conditions) {
            const char* const owner = layout.ownership ? "o.application_name" : nullptr;
            Columns columns;
            columns.group(query.by_function_name, "o.function_name");
            columns.group(query.by_status, kStatus);
            columns.group(query.by_application_name, owner ? owner : "NULL");
            columns.group(query.bucket_ms.has_value(),
                          bucket("o.completed_at_epoch_ms", query.bucket_ms.value_or(1)));
            columns.value(query.count, "count(*)");
            columns.value(query.max_duration, "max(o.completed_at_epoch_ms - o.started_at_epoch_ms)");
            conditions.one_of(kStatus, query.status);
            conditions.one_of("o.function_name", query.function_name);
            conditions.one_of(owner, query.application_name, true);
            conditions.prefixes("o.workflow_uuid", query.workflow_id_prefix);
            conditions.bound("o.completed_at_epoch_ms", ">=", query.completed_from);
            conditions.bound("o.completed_at_epoch_ms", "<=", query.completed_to);
            return columns.text(" FROM @operation_outputs o" + conditions.where());
        });
    std::vector<StepAggregateRow> groups(rows.size());
    for (std::size_t row = 0; row < rows.size(); ++row) {
        StepAggregateRow& group = groups[row];
        Reader reader(rows, row);
        reader.text(query.by_function_name, group.function_name);
        reader.text(query.by_status, group.status);
        reader.text(query.by_application_name, group.application_name);
        reader.number(query.bucket_ms.has_value(), group.bucket);
        reader.number(query.count, group.count);
        reader.number(query.max_duration, group.max_duration_ms);
    }
    return groups;
}

}  // namespace dbos::sysdb
