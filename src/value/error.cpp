#include "dbos/error.hpp"

#include <charconv>

#include "dbos/value.hpp"

namespace dbos {
namespace {

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

std::string number_text(double value) {
    char buffer[32];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
    return {buffer, end};
}

std::string recorded_text(const Failure& failure) {
    std::string text = failure.type_name.empty() ? "an error without a type" : failure.type_name;
    if (!failure.message.empty()) text += ": " + failure.message;
    return text;
}

std::string not_reached(const std::string& path, const std::string& expected, const std::string& found,
                        const std::string& format) {
    std::string text = "at " + path + ": expected " + expected + ", got " + found;
    if (!format.empty()) text += " (format " + format + ")";
    return text;
}

}  // namespace

Error::Error(const std::string& message, int code, std::string workflow_id)
    : std::runtime_error(message), code_(code), workflow_id_(std::move(workflow_id)) {}
Error::~Error() = default;

UsageError::UsageError(const std::string& message, std::string workflow_id)
    : Error(message, 0, std::move(workflow_id)) {}
UsageError::~UsageError() = default;

ConfigError::ConfigError(const std::string& message) : Error(message) {}
ConfigError::~ConfigError() = default;

DatabaseError::DatabaseError(DatabaseErrorKind kind, const std::string& message, std::string sqlstate,
                             std::string constraint, bool outcome_unknown, std::string workflow_id)
    : Error(message, 0, std::move(workflow_id)),
      kind_(kind),
      sqlstate_(std::move(sqlstate)),
      constraint_(std::move(constraint)),
      outcome_unknown_(outcome_unknown) {}
DatabaseError::~DatabaseError() = default;

bool DatabaseError::transient() const noexcept {
    return kind_ == DatabaseErrorKind::connection || kind_ == DatabaseErrorKind::serialization ||
           kind_ == DatabaseErrorKind::busy;
}

InitializationError::InitializationError(const std::string& message) : Error(message, 3) {}
InitializationError::~InitializationError() = default;

NotRegistered::NotRegistered(std::string workflow_id, std::string workflow_name)
    : Error("workflow " + quoted(workflow_id) + " is of " + quoted(workflow_name) +
                ", which has no body in this program: implement() it before launch()",
            4, workflow_id),
      workflow_name_(std::move(workflow_name)) {}
NotRegistered::~NotRegistered() = default;

NonexistentWorkflow::NonexistentWorkflow(std::string workflow_id, std::string role)
    : Error((role.empty() ? std::string("workflow ") : role + " workflow ") + quoted(workflow_id) +
                " does not exist in this system database",
            5, workflow_id),
      role_(std::move(role)) {}
NonexistentWorkflow::~NonexistentWorkflow() = default;

MaxRecoveryAttemptsExceeded::MaxRecoveryAttemptsExceeded(std::string workflow_id, std::int64_t max_attempts)
    : Error("workflow " + quoted(workflow_id) + " was taken up more than " + std::to_string(max_attempts) +
                " times without an end and is dead-lettered: see why it kills its process, then resume it",
            6, workflow_id),
      max_attempts_(max_attempts) {}
MaxRecoveryAttemptsExceeded::~MaxRecoveryAttemptsExceeded() = default;

StepRetriesExhausted::StepRetriesExhausted(std::string workflow_id, std::string step_name,
                                           std::int64_t max_attempts, std::vector<std::string> errors)
    : Error("step " + quoted(step_name) + " failed in all of its " + std::to_string(max_attempts) +
                " attempts" + (errors.empty() ? std::string() : "; the last error was " + errors.back()),
            7, std::move(workflow_id)),
      step_name_(std::move(step_name)),
      max_attempts_(max_attempts),
      errors_(std::move(errors)) {}
StepRetriesExhausted::~StepRetriesExhausted() = default;

ConflictingWorkflow::ConflictingWorkflow(std::string workflow_id, std::string detail)
    : Error("the id " + quoted(workflow_id) + " belongs to another workflow: " + detail, 9, workflow_id),
      detail_(std::move(detail)) {}
ConflictingWorkflow::~ConflictingWorkflow() = default;

UnexpectedStep::UnexpectedStep(std::string workflow_id, std::int64_t step_id, std::string expected_name,
                               std::string recorded_name)
    : Error("step " + std::to_string(step_id) + " of workflow " + quoted(workflow_id) + " was recorded as " +
                quoted(recorded_name) + " but this run asked for " + quoted(expected_name) +
                ". The code changed, or branched on something that is not a step. Fork from step " +
                std::to_string(step_id) + ", or register the new code as a new version",
            11, workflow_id),
      step_id_(step_id),
      expected_name_(std::move(expected_name)),
      recorded_name_(std::move(recorded_name)) {}
UnexpectedStep::~UnexpectedStep() = default;

QueueDeduplicated::QueueDeduplicated(std::string workflow_id, std::string queue_name,
                                     std::string deduplication_id)
    : Error("workflow " + quoted(workflow_id) + " was not enqueued: another one in queue " +
                quoted(queue_name) + " holds the deduplication id " + quoted(deduplication_id),
            12, workflow_id),
      queue_name_(std::move(queue_name)),
      deduplication_id_(std::move(deduplication_id)) {}
QueueDeduplicated::~QueueDeduplicated() = default;

AwaitedWorkflowCancelled::AwaitedWorkflowCancelled(std::string workflow_id)
    : Error("workflow " + quoted(workflow_id) + " has no result: it was cancelled", 13, workflow_id) {}
AwaitedWorkflowCancelled::~AwaitedWorkflowCancelled() = default;

AwaitedWorkflowMaxRecovery::AwaitedWorkflowMaxRecovery(std::string workflow_id)
    : Error("workflow " + quoted(workflow_id) +
                " has no result: it is dead-lettered after too many recoveries; resume it once its cause is "
                "mended",
            14, workflow_id) {}
AwaitedWorkflowMaxRecovery::~AwaitedWorkflowMaxRecovery() = default;

StreamTimeout::StreamTimeout(std::string workflow_id, std::string key, double timeout_seconds)
    : Error("no value arrived in stream " + quoted(key) + " of workflow " + quoted(workflow_id) + " within " +
                number_text(timeout_seconds) + " s",
            16, workflow_id),
      key_(std::move(key)),
      timeout_seconds_(timeout_seconds) {}
StreamTimeout::~StreamTimeout() = default;

namespace {
std::string not_authorized(const std::string& workflow_name, const std::string& user,
                           const std::vector<std::string>& roles) {
    std::string text = "workflow " + quoted(workflow_name) + " requires one of the roles";
    for (std::size_t i = 0; i < roles.size(); ++i) text += (i == 0 ? " " : ", ") + quoted(roles[i]);
    text += user.empty() ? std::string(", and it has no authenticated user")
                         : ", and user " + quoted(user) + " has none of them";
    return text + ": give `authenticated_user` and `authenticated_roles` to the call that starts it";
}
}  // namespace

NotAuthorized::NotAuthorized(std::string workflow_id, std::string workflow_name,
                             std::string authenticated_user, std::vector<std::string> required_roles)
    : Error(not_authorized(workflow_name, authenticated_user, required_roles), 8, std::move(workflow_id)),
      workflow_name_(std::move(workflow_name)),
      authenticated_user_(std::move(authenticated_user)),
      required_roles_(std::move(required_roles)) {}
NotAuthorized::~NotAuthorized() = default;

StepTimeout::StepTimeout(std::string workflow_id, std::string step_name, double timeout_seconds)
    : Error("step " + quoted(step_name) + " did not end within its timeout of " +
                number_text(timeout_seconds) + " s",
            18, std::move(workflow_id)),
      step_name_(std::move(step_name)),
      timeout_seconds_(timeout_seconds) {}
StepTimeout::~StepTimeout() = default;

QueryTimeout::QueryTimeout(double timeout_seconds)
    : Error("the listing took longer than " + number_text(timeout_seconds) +
                " s: narrow its filters or raise its timeout",
            26),
      timeout_seconds_(timeout_seconds) {}
QueryTimeout::~QueryTimeout() = default;

WorkflowIdInUse::WorkflowIdInUse(std::string workflow_id, std::string workflow_status,
                                 std::string workflow_name)
    : Error("the id " + quoted(workflow_id) + " is in use" +
                (workflow_name.empty() ? std::string() : " by workflow " + quoted(workflow_name)) +
                (workflow_status.empty() ? std::string() : " (" + workflow_status + ")"),
            27, workflow_id),
      workflow_status_(std::move(workflow_status)),
      workflow_name_(std::move(workflow_name)) {}
WorkflowIdInUse::~WorkflowIdInUse() = default;

StepNondeterminism::StepNondeterminism(std::string workflow_id, std::int64_t step_id, std::string detail)
    : Error("step " + std::to_string(step_id) + " of workflow " + quoted(workflow_id) +
                " does not fit its record: " + detail,
            28, workflow_id),
      step_id_(step_id),
      detail_(std::move(detail)) {}
StepNondeterminism::~StepNondeterminism() = default;

StepAbandoned::StepAbandoned(std::string workflow_id, std::string step_name)
    : Error("step " + quoted(step_name) + " was given up before it began: its Pending was destroyed first", 0,
            std::move(workflow_id)),
      step_name_(std::move(step_name)) {}
StepAbandoned::~StepAbandoned() = default;

InvalidTransaction::InvalidTransaction(std::string workflow_id, std::string step_name, std::string detail)
    : Error("transaction " + quoted(step_name) + ": " + detail, 0, std::move(workflow_id)),
      step_name_(std::move(step_name)),
      detail_(std::move(detail)) {}
InvalidTransaction::~InvalidTransaction() = default;

NotFound::NotFound(const std::string& message) : Error(message) {}
NotFound::~NotFound() = default;

AlreadyExists::AlreadyExists(const std::string& message) : Error(message) {}
AlreadyExists::~AlreadyExists() = default;

Timeout::Timeout(const std::string& message, std::string workflow_id)
    : Error(message, 0, std::move(workflow_id)) {}
Timeout::~Timeout() = default;

ClientClosed::ClientClosed(const std::string& message) : Error(message) {}
ClientClosed::~ClientClosed() = default;

namespace {

std::string refusals_text(const std::vector<BulkRefused::Refusal>& refusals) {
    constexpr std::size_t kShown = 10;
    std::string text = std::to_string(refusals.size()) +
                       (refusals.size() == 1 ? " call was refused" : " calls were refused") +
                       ", and nothing was written:";
    for (std::size_t n = 0; n < refusals.size() && n < kShown; ++n) {
        text += (n ? "; [" : " [") + std::to_string(refusals[n].index) + "] ";
        try {
            std::rethrow_exception(refusals[n].error);
        } catch (const std::exception& error) {
            text += error.what();
        }
    }
    return refusals.size() > kShown ? text + "; …" : text;
}

}  // namespace

BulkRefused::BulkRefused(std::vector<Refusal> refusals)
    : Error(refusals_text(refusals)), refusals_(std::move(refusals)) {}
BulkRefused::~BulkRefused() = default;

OutcomeUnknown::OutcomeUnknown(const std::string& message, std::string workflow_id)
    : DatabaseError(DatabaseErrorKind::other, message, {}, {}, true, std::move(workflow_id)) {}
OutcomeUnknown::~OutcomeUnknown() = default;

DecodeError::DecodeError(std::string path, std::string expected, std::string found, std::string refusal,
                         std::string format)
    : Error(not_reached(path, expected, found, format)),
      path_(std::move(path)),
      expected_(std::move(expected)),
      found_(std::move(found)),
      refusal_(std::move(refusal)),
      format_(std::move(format)) {}
DecodeError::~DecodeError() = default;

EncodeError::EncodeError(std::string path, std::string reason, std::string format)
    : Error("at " + path + ": " + reason + (format.empty() ? std::string() : " (format " + format + ")")),
      path_(std::move(path)),
      reason_(std::move(reason)),
      format_(std::move(format)) {}
EncodeError::~EncodeError() = default;

RecordedError::RecordedError(const std::string& message, std::string workflow_id, Failure failure)
    : Error(message, 0, std::move(workflow_id)),
      failure_(std::make_shared<const Failure>(std::move(failure))) {}
RecordedError::~RecordedError() = default;
const std::string& RecordedError::type_name() const noexcept { return failure_->type_name; }
const std::string& RecordedError::message() const noexcept { return failure_->message; }

WorkflowFailed::WorkflowFailed(std::string workflow_id, Failure failure)
    : RecordedError("workflow " + quoted(workflow_id) + " failed with " + recorded_text(failure), workflow_id,
                    failure) {}
WorkflowFailed::~WorkflowFailed() = default;

StepFailed::StepFailed(std::string workflow_id, std::string step_name, Failure failure)
    : RecordedError("step " + quoted(step_name) + " failed with " + recorded_text(failure),
                    std::move(workflow_id), failure),
      step_name_(std::move(step_name)) {}
StepFailed::~StepFailed() = default;

Interrupt::Interrupt(Reason reason, std::string workflow_id)
    : reason_(reason), workflow_id_(std::move(workflow_id)) {}
Interrupt::~Interrupt() = default;

}  // namespace dbos
