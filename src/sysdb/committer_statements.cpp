#include "sysdb/committer_statements.hpp"

#include <array>

#include "dbos/error.hpp"

namespace dbos::sysdb {

const char* const kStepColumns =
    "o.function_id, o.function_name, o.output, o.error, o.child_workflow_id, o.started_at_epoch_ms, "
    "o.completed_at_epoch_ms, o.serialization, o.application_name";

namespace {

using View = std::optional<std::string_view>;
using Number = std::optional<std::int64_t>;

View view(const Text& text) { return text ? View(*text) : View(); }
/// The class and the configured instance are NULL when absent, never '': peers compare with NULL.
View view_or_null(const Text& text) { return text && !text->empty() ? View(*text) : View(); }

#define DBOS_TEXT(expression) \
    [](const NewWorkflow& w, [[maybe_unused]] const Layout& layout) -> View { return expression; }, nullptr
#define DBOS_NUMBER(expression) nullptr, [](const NewWorkflow& w) -> Number { return expression; }

bool pending(const NewWorkflow& w) { return w.status == "PENDING"; }

constexpr std::array kStartColumns{
    StartColumn{"workflow_uuid", "text", nullptr, DBOS_TEXT(View(w.workflow_id))},
    StartColumn{"status", "text", nullptr, DBOS_TEXT(View(w.status))},
    StartColumn{"name", "text", nullptr, DBOS_TEXT(View(w.name))},
    StartColumn{"class_name", "text", nullptr, DBOS_TEXT(view_or_null(w.class_name))},
    StartColumn{"config_name", "text", nullptr, DBOS_TEXT(view_or_null(w.config_name))},
    StartColumn{"serialization", "text", nullptr, DBOS_TEXT(View(w.serialization))},
    StartColumn{"executor_id", "text", nullptr, DBOS_TEXT(view(w.executor_id))},
    StartColumn{"application_version", "text", nullptr, DBOS_TEXT(view(w.application_version))},
    StartColumn{"application_id", "text", nullptr, DBOS_TEXT(view(w.application_id))},
    StartColumn{"authenticated_user", "text", nullptr, DBOS_TEXT(view(w.authenticated_user))},
    StartColumn{"assumed_role", "text", nullptr, DBOS_TEXT(view(w.assumed_role))},
    StartColumn{"authenticated_roles", "text", nullptr, DBOS_TEXT(view(w.authenticated_roles))},
    StartColumn{"queue_name", "text", nullptr, DBOS_TEXT(view(w.queue_name))},
    StartColumn{"queue_partition_key", "text", nullptr, DBOS_TEXT(view(w.queue_partition_key))},
    StartColumn{"deduplication_id", "text", nullptr, DBOS_TEXT(view(w.deduplication_id))},
    StartColumn{"parent_workflow_id", "text", nullptr, DBOS_TEXT(view(w.parent_workflow_id))},
    StartColumn{"priority", "int", nullptr, DBOS_NUMBER(Number(w.priority))},
    StartColumn{"recovery_attempts", "bigint", nullptr, DBOS_NUMBER(Number(pending(w) ? 1 : 0))},
    StartColumn{"workflow_timeout_ms", "bigint", nullptr, DBOS_NUMBER(w.timeout_ms)},
    StartColumn{"workflow_deadline_epoch_ms", "bigint", nullptr, DBOS_NUMBER(w.deadline_ms)},
    StartColumn{"delay_until_epoch_ms", "bigint", &Layout::delay, DBOS_NUMBER(w.delay_until_ms)},
    StartColumn{"attributes", "jsonb", &Layout::attributes, DBOS_TEXT(view(w.attributes))},
    StartColumn{"schedule_name", "text", &Layout::schedule_name, DBOS_TEXT(view(w.schedule_name))},
    StartColumn{"application_name", "text", &Layout::ownership, DBOS_TEXT(view(w.application_name))},
    // Before migration 123 the token of the inserting call stands in owner_xid, whatever the status.
    StartColumn{"owner_xid", "text", nullptr,
                DBOS_TEXT(pending(w) || !layout.creator_token ? View(w.token) : View())},
    StartColumn{"creator_xid", "text", &Layout::creator_token, DBOS_TEXT(View(w.token))},
};
constexpr StartColumn kLegacyInputs{"inputs", "text", nullptr, DBOS_TEXT(View(w.inputs))};

#undef DBOS_TEXT
#undef DBOS_NUMBER

}  // namespace

CommitterStatements::CommitterStatements(sql::Backend backend, const Layout& of, int generation)
    : layout(of), generation_(generation) {
    for (const StartColumn& column : kStartColumns) {
        if (!column.needs || layout.*column.needs) columns_.push_back(&column);
    }
    if (!layout.payload_tables) columns_.push_back(&kLegacyInputs);
    make_reads();
    if (backend == sql::Backend::postgres) {
        make_postgres();
    } else {
        make_sqlite();
    }
    if (layout.creator_token && layout.payload_tables)
        make_firing(backend);  // else no application runs there
}

const CommitterStatements& StatementSets::of(const Layout& layout) {
    for (const CommitterStatements& set : sets_) {
        if (set.layout == layout) return set;
    }
    return sets_.emplace_back(backend_, layout, static_cast<int>(sets_.size()));
}

sql::Statement CommitterStatements::make(const char* name, std::string text, sql::Access access) {
    texts_.push_back(std::string("committer_") + name +
                     (generation_ > 0 ? "_" + std::to_string(generation_) : ""));
    const char* full_name = texts_.back().c_str();
    texts_.push_back(std::move(text));
    return {full_name, texts_.back().c_str(), access};
}

std::string CommitterStatements::column_names() const {
    std::string names;
    for (const StartColumn* column : columns_) names += std::string(column->name) + ", ";
    return names + "created_at, updated_at";
}

void CommitterStatements::bind_row(const NewWorkflow& workflow, sql::Params& params) const {
    for (const StartColumn* column : columns_) {
        if (column->text) {
            const View value = column->text(workflow, layout);
            params.push_back(value ? sql::Param(*value) : sql::Param());
        } else {
            const Number value = column->number(workflow);
            params.push_back(value ? sql::Param(*value) : sql::Param());
        }
    }
}

void CommitterStatements::bind_set(const std::vector<const NewWorkflow*>& workflows,
                                   sql::Params& params) const {
    for (const StartColumn* column : columns_) {
        if (column->text) {
            sql::TextArray values;
            values.reserve(workflows.size());
            for (const NewWorkflow* workflow : workflows) values.push_back(column->text(*workflow, layout));
            params.emplace_back(std::move(values));
        } else {
            sql::IntArray values;
            values.reserve(workflows.size());
            for (const NewWorkflow* workflow : workflows) values.push_back(column->number(*workflow));
            params.emplace_back(std::move(values));
        }
    }
}

void CommitterStatements::check(const Write& write) const {
    if (write.kind != WriteKind::start && !step_row.text) {
        throw ConfigError("workflow " + write.id() + " cannot run: the system database has version " +
                          std::to_string(layout.version) + ", and running workflows needs 123; migrate it");
    }
    if (!write.workflow) return;
    const NewWorkflow& w = *write.workflow;
    const char* lacking = nullptr;
    if (w.attributes && !layout.attributes) lacking = "attributes";
    if (w.schedule_name && !layout.schedule_name) lacking = "schedule_name";
    if (w.delay_until_ms && !layout.delay) lacking = "delay_until_epoch_ms";
    if (lacking) {
        throw ConfigError("workflow " + w.workflow_id + " cannot be started: the system database (version " +
                          std::to_string(layout.version) + ") has no column workflow_status." + lacking +
                          "; migrate it, or start the workflow without that option");
    }
}

void CommitterStatements::make_reads() {
    const std::string token = layout.creator_token ? "w.creator_xid" : "w.owner_xid";
    const std::string row =
        "SELECT w.status, w.name, w.class_name, w.config_name, w.queue_name, w.serialization, w.owner_xid, "
        "w.recovery_attempts, w.workflow_deadline_epoch_ms, " +
        token + " FROM @workflow_status w WHERE w.workflow_uuid = $1";
    const auto read = sql::Access::read;
    read_start = make("read_start", row, read);
    read_holder = make(
        "read_holder",
        "SELECT w.workflow_uuid FROM @workflow_status w WHERE w.queue_name = $1 AND w.deduplication_id = $2",
        read);
    std::string columns = kStepColumns;
    if (!layout.ownership) columns.replace(columns.find("o.application_name"), 18, "NULL");
    read_step = make("read_step",
                     "SELECT w.owner_xid, w.status, " + columns +
                         " FROM @workflow_status w LEFT JOIN @operation_outputs o ON o.workflow_uuid = "
                         "w.workflow_uuid AND "
                         "o.function_id = $2 WHERE w.workflow_uuid = $1",
                     read);
    if (layout.payload_tables) {
        read_outcome =
            make("read_outcome",
                 "SELECT w.status, o.output, o.error FROM @workflow_status w LEFT JOIN @workflow_output o "
                 "ON o.workflow_uuid = w.workflow_uuid WHERE w.workflow_uuid = $1",
                 read);
    }
}

}  // namespace dbos::sysdb
