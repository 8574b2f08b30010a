#include <string_view>
#include <typeinfo>

#include "codec/known_errors.hpp"
#include "dbos/codec.hpp"
#include "dbos/error.hpp"

namespace dbos {
namespace {

// The fields of a recorded error. Each accessor throws DecodeError if the record was not written by this
// library.
class Fields {
   public:
    Fields(const Failure& failure, const std::string& workflow_id)
        : failure_(failure), workflow_id_(workflow_id) {}
    const std::string& message() const { return failure_.message; }
    std::string workflow_id() const {
        const Value* found = failure_.data.find("workflowID");
        return found != nullptr && found->kind() == Kind::string ? found->as_string() : workflow_id_;
    }
    std::string text(std::string_view name) const { return failure_.data.at(name).as_string(); }
    std::int64_t integer(std::string_view name) const { return failure_.data.at(name).as_int(); }
    double number(std::string_view name) const { return failure_.data.at(name).as_double(); }
    std::vector<std::string> texts(std::string_view name) const {
        return from_value<std::vector<std::string>>(failure_.data.at(name));
    }

   private:
    const Failure& failure_;
    const std::string& workflow_id_;
};

// One class: its name on the wire, its fields, and how it is made from them.
template <class E>
struct Own;

#define DBOS_OWN(Type, wire_name) \
    template <>                   \
    struct Own<Type> {            \
        using E = Type;           \
        static constexpr std::string_view name = wire_name;

// clang-format off
DBOS_OWN(UsageError, "UsageError")
    static Object fields(const E&) { return {}; }
    static E make(const Fields& f) { return E(f.message(), f.workflow_id()); }
};
DBOS_OWN(ConfigError, "ConfigError")
    static Object fields(const E&) { return {}; }
    static E make(const Fields& f) { return E(f.message()); }
};
DBOS_OWN(DatabaseError, "DatabaseError")
    static Object fields(const E& e) {
        return {{"kind", static_cast<int>(e.kind())}, {"sqlstate", e.sqlstate()}, {"constraint", e.constraint()},
                {"outcomeUnknown", e.outcome_unknown()}};
    }
    static E make(const Fields& f) {
        const std::int64_t kind = f.integer("kind");
        const bool known = kind >= 0 && kind <= static_cast<std::int64_t>(DatabaseErrorKind::other);
        // Its flag is not read back: the commit in doubt was another run's.
        return E(known ? static_cast<DatabaseErrorKind>(kind) : DatabaseErrorKind::other, f.message(), f.text("sqlstate"),
                 f.text("constraint"));
    }
};
DBOS_OWN(InitializationError, "DBOSInitializationError")
    static Object fields(const E&) { return {}; }
    static E make(const Fields& f) { return E(f.message()); }
};
DBOS_OWN(NotRegistered, "DBOSWorkflowFunctionNotFoundError")
    static Object fields(const E& e) { return {{"workflowName", e.workflow_name()}}; }
    static E make(const Fields& f) { return E(f.workflow_id(), f.text("workflowName")); }
};
DBOS_OWN(NonexistentWorkflow, "DBOSNonExistentWorkflowError")
    static Object fields(const E& e) { return {{"role", e.role()}}; }
    static E make(const Fields& f) { return E(f.workflow_id(), f.text("role")); }
};
DBOS_OWN(MaxRecoveryAttemptsExceeded, "MaxRecoveryAttemptsExceededError")
    static Object fields(const E& e) { return {{"maxRetries", e.max_attempts()}}; }
    static E make(const Fields& f) { return E(f.workflow_id(), f.integer("maxRetries")); }
};
DBOS_OWN(StepRetriesExhausted, "DBOSMaxStepRetriesExceeded")
    static Object fields(const E& e) {
        return {{"stepName", e.step_name()}, {"maxRetries", e.max_attempts()}, {"errors", to_value(e.errors())}};
    }
    static E make(const Fields& f) {
        return E(f.workflow_id(), f.text("stepName"), f.integer("maxRetries"), f.texts("errors"));
    }
};
DBOS_OWN(ConflictingWorkflow, "DBOSConflictingWorkflowError")
    static Object fields(const E& e) { return {{"detail", e.detail()}}; }
    static E make(const Fields& f) { return E(f.workflow_id(), f.text("detail")); }
};
DBOS_OWN(UnexpectedStep, "DBOSUnexpectedStepError")
    static Object fields(const E& e) {
        return {{"stepID", e.step_id()}, {"expectedName", e.expected_name()}, {"recordedName", e.recorded_name()}};
    }
    static E make(const Fields& f) {
        return E(f.workflow_id(), f.integer("stepID"), f.text("expectedName"), f.text("recordedName"));
    }
};
DBOS_OWN(QueueDeduplicated, "DBOSQueueDeduplicatedError")
    static Object fields(const E& e) {
        return {{"queueName", e.queue_name()}, {"deduplicationID", e.deduplication_id()}};
    }
    static E make(const Fields& f) { return E(f.workflow_id(), f.text("queueName"), f.text("deduplicationID")); }
};
DBOS_OWN(AwaitedWorkflowCancelled, "DBOSAwaitedWorkflowCancelledError")
    static Object fields(const E&) { return {}; }
    static E make(const Fields& f) { return E(f.workflow_id()); }
};
DBOS_OWN(AwaitedWorkflowMaxRecovery, "DBOSAwaitedWorkflowMaxRecoveryAttemptsExceeded")
    static Object fields(const E&) { return {}; }
    static E make(const Fields& f) { return E(f.workflow_id()); }
};
DBOS_OWN(StreamTimeout, "DBOSStreamTimeoutError")
    static Object fields(const E& e) { return {{"key", e.key()}, {"timeoutSeconds", e.timeout_seconds()}}; }
    static E make(const Fields& f) { return E(f.workflow_id(), f.text("key"), f.number("timeoutSeconds")); }
};
DBOS_OWN(NotAuthorized, "DBOSNotAuthorizedError")
    static Object fields(const E& e) {
        return {{"workflowName", e.workflow_name()}, {"authenticatedUser", e.authenticated_user()},
                {"requiredRoles", to_value(e.required_roles())}};
    }
    static E make(const Fields& f) {
        return E(f.workflow_id(), f.text("workflowName"), f.text("authenticatedUser"), f.texts("requiredRoles"));
    }
};
DBOS_OWN(StepTimeout, "DBOSStepTimeoutError")
    static Object fields(const E& e) { return {{"stepName", e.step_name()}, {"timeoutSeconds", e.timeout_seconds()}}; }
    static E make(const Fields& f) { return E(f.workflow_id(), f.text("stepName"), f.number("timeoutSeconds")); }
};
DBOS_OWN(QueryTimeout, "DBOSQueryTimeoutError")
    static Object fields(const E& e) { return {{"timeoutSeconds", e.timeout_seconds()}}; }
    static E make(const Fields& f) { return E(f.number("timeoutSeconds")); }
};
DBOS_OWN(WorkflowIdInUse, "DBOSWorkflowIDInUseError")
    static Object fields(const E& e) {
        return {{"workflowStatus", e.workflow_status()}, {"workflowName", e.workflow_name()}};
    }
    static E make(const Fields& f) { return E(f.workflow_id(), f.text("workflowStatus"), f.text("workflowName")); }
};
DBOS_OWN(StepNondeterminism, "DBOSStepNondeterminismError")
    static Object fields(const E& e) { return {{"stepID", e.step_id()}, {"detail", e.detail()}}; }
    static E make(const Fields& f) { return E(f.workflow_id(), f.integer("stepID"), f.text("detail")); }
};
DBOS_OWN(StepAbandoned, "StepAbandoned")
    static Object fields(const E& e) { return {{"stepName", e.step_name()}}; }
    static E make(const Fields& f) { return E(f.workflow_id(), f.text("stepName")); }
};
DBOS_OWN(InvalidTransaction, "InvalidTransaction")
    static Object fields(const E& e) { return {{"stepName", e.step_name()}, {"detail", e.detail()}}; }
    static E make(const Fields& f) { return E(f.workflow_id(), f.text("stepName"), f.text("detail")); }
};
DBOS_OWN(NotFound, "NotFound")
    static Object fields(const E&) { return {}; }
    static E make(const Fields& f) { return E(f.message()); }
};
DBOS_OWN(AlreadyExists, "AlreadyExists")
    static Object fields(const E&) { return {}; }
    static E make(const Fields& f) { return E(f.message()); }
};
DBOS_OWN(Timeout, "Timeout")
    static Object fields(const E&) { return {}; }
    static E make(const Fields& f) { return E(f.message(), f.workflow_id()); }
};
DBOS_OWN(ClientClosed, "ClientClosed")
    static Object fields(const E&) { return {}; }
    static E make(const Fields& f) { return E(f.message()); }
};
DBOS_OWN(OutcomeUnknown, "OutcomeUnknown")
    static Object fields(const E&) { return {}; }
    static E make(const Fields& f) { return E(f.message(), f.workflow_id()); }
};
DBOS_OWN(DecodeError, "DecodeError")
    static Object fields(const E& e) {
        return {{"path", e.path()}, {"expected", e.expected()}, {"found", e.found()}, {"refusal", e.refusal()},
                {"format", e.format()}};
    }
    static E make(const Fields& f) {
        return E(f.text("path"), f.text("expected"), f.text("found"), f.text("refusal"), f.text("format"));
    }
};
DBOS_OWN(EncodeError, "EncodeError")
    static Object fields(const E& e) { return {{"path", e.path()}, {"reason", e.reason()}, {"format", e.format()}}; }
    static E make(const Fields& f) { return E(f.text("path"), f.text("reason"), f.text("format")); }
};
// clang-format on
#undef DBOS_OWN

template <class E>
bool describe_as(const Error& error, Failure& failure) {
    if (typeid(error) != typeid(E)) return false;
    failure.type_name = std::string(Own<E>::name);
    failure.message = error.what();
    if (error.code() != 0) failure.code = std::int64_t{error.code()};
    Object data = Own<E>::fields(static_cast<const E&>(error));
    if (!error.workflow_id().empty()) data.insert(data.begin(), {"workflowID", error.workflow_id()});
    failure.data = data.empty() ? Value() : Value(std::move(data));
    return true;
}

template <class E>
void raise_as(const Failure& failure, const std::string& workflow_id) {
    if (failure.type_name != Own<E>::name) return;
    std::optional<E> error;
    try {
        error.emplace(Own<E>::make(Fields(failure, workflow_id)));
    } catch (const DecodeError&) {
        return;  // written by another SDK: the fields are not there
    }
    throw E(std::move(*error));
}

template <class... E>
struct All {
    static bool describe(const Error& error, Failure& failure) {
        return (describe_as<E>(error, failure) || ...);
    }
    static void raise(const Failure& failure, const std::string& workflow_id) {
        (raise_as<E>(failure, workflow_id), ...);
    }
};

using AllOwn =
    All<UsageError, ConfigError, DatabaseError, InitializationError, NotRegistered, NonexistentWorkflow,
        MaxRecoveryAttemptsExceeded, StepRetriesExhausted, ConflictingWorkflow, UnexpectedStep,
        QueueDeduplicated, AwaitedWorkflowCancelled, AwaitedWorkflowMaxRecovery, StreamTimeout, NotAuthorized,
        StepTimeout, QueryTimeout, WorkflowIdInUse, StepNondeterminism, StepAbandoned, InvalidTransaction,
        NotFound, AlreadyExists, Timeout, ClientClosed, OutcomeUnknown, DecodeError, EncodeError>;

}  // namespace

bool describe_own(const std::exception& error, Failure& failure) {
    const auto* own = dynamic_cast<const Error*>(&error);
    return own != nullptr && AllOwn::describe(*own, failure);
}

void raise_own(const Failure& failure, const std::string& workflow_id) {
    AllOwn::raise(failure, workflow_id);
}

}  // namespace dbos
