// The exceptions of the library. Everything a user may catch derives from dbos::Error (a std::runtime_error),
// but for dbos::Interrupt, which unwinds a workflow body and must never be swallowed.
//
// The classes hold plain values; copies are independent. Thread-safe as any const object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "dbos/export.hpp"

namespace dbos {

struct Failure;  // dbos/value.hpp: what a recorded error says

/// Base of all errors of the library.
///
/// `code()` is the number that the Python SDK gives to the same condition (py: dbos/_error.py), the
/// TypeScript number where Python has none (20, 21, 29, 32), else 0. `workflow_id()` is empty where no
/// workflow is concerned.
class DBOS_EXPORT Error : public std::runtime_error {
   public:
    explicit Error(const std::string& message, int code = 0, std::string workflow_id = {});
    ~Error() override;
    int code() const noexcept { return code_; }
    const std::string& workflow_id() const noexcept { return workflow_id_; }

   private:
    int code_ = 0;
    std::string workflow_id_;
};

/// The program used the library wrongly: a call on the wrong thread, a bad option, a nested step. Never
/// retried.
class DBOS_EXPORT UsageError : public Error {
   public:
    explicit UsageError(const std::string& message, std::string workflow_id = {});
    ~UsageError() override;
};

/// A connection string, an option or the system database itself does not fit: malformed URL, schema too old,
/// sharded.
class DBOS_EXPORT ConfigError : public Error {
   public:
    explicit ConfigError(const std::string& message);
    ~ConfigError() override;
};

/// What kind of failure a DatabaseError reports. Only `connection`, `serialization` and `busy` may pass by
/// themselves.
enum class DatabaseErrorKind : std::uint8_t {
    connection,        ///< lost, refused or timed out (SQLSTATE 08, 53, 57 but 57014; no route to the server)
    serialization,     ///< 40001, 40P01, 40003: the transaction lost against another one
    busy,              ///< 55P03, SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL: a lock was not granted in time
    blocked,           ///< a write waited 30 s for a lock that somebody holds
    unique_violation,  ///< 23505, SQLITE_CONSTRAINT_UNIQUE or _PRIMARYKEY
    foreign_key,       ///< 23503, SQLITE_CONSTRAINT_FOREIGNKEY
    undefined_object,  ///< 42P01, 42703, 3F000, "no such table": the schema is missing or older
    permission,        ///< 42501, 28xxx, SQLITE_PERM, SQLITE_AUTH: not allowed, wrong password
    read_only,         ///< 25006, SQLITE_READONLY
    timeout,           ///< 57014: the statement took too long
    closed,            ///< the client or application was closed meanwhile
    other,
};

/// A database call failed. Texts never hold a password.
class DBOS_EXPORT DatabaseError : public Error {
   public:
    DatabaseError(DatabaseErrorKind kind, const std::string& message, std::string sqlstate = {},
                  std::string constraint = {}, bool outcome_unknown = false, std::string workflow_id = {});
    ~DatabaseError() override;
    DatabaseErrorKind kind() const noexcept { return kind_; }
    /// Five characters on PostgreSQL, `sqlite:<extended code>` on SQLite, empty if there was no answer.
    const std::string& sqlstate() const noexcept { return sqlstate_; }
    /// Name of the violated constraint (PostgreSQL) or the columns (SQLite), if any.
    const std::string& constraint() const noexcept { return constraint_; }
    /// Whether the transaction may have been committed although the call failed (its acknowledgement was
    /// lost).
    bool outcome_unknown() const noexcept { return outcome_unknown_; }
    /// Whether the same call may succeed if it is repeated: connection, serialization or busy.
    bool transient() const noexcept;

   private:
    DatabaseErrorKind kind_;
    std::string sqlstate_;
    std::string constraint_;
    bool outcome_unknown_;
};

/// The application or client cannot start: no versions, no tables, a missing body. Python:
/// DBOSInitializationError, 3.
class DBOS_EXPORT InitializationError : public Error {
   public:
    explicit InitializationError(const std::string& message);
    ~InitializationError() override;
};

/// A workflow's name has no body in this program. Python: DBOSWorkflowFunctionNotFoundError, 4.
class DBOS_EXPORT NotRegistered : public Error {
   public:
    NotRegistered(std::string workflow_id, std::string workflow_name);
    ~NotRegistered() override;
    const std::string& workflow_name() const noexcept { return workflow_name_; }

   private:
    std::string workflow_name_;
};

/// No workflow has this id. `role` says what the id was for ("destination", "parent"; empty = the workflow
/// itself). Python: DBOSNonExistentWorkflowError, 5.
class DBOS_EXPORT NonexistentWorkflow : public Error {
   public:
    explicit NonexistentWorkflow(std::string workflow_id, std::string role = {});
    ~NonexistentWorkflow() override;
    const std::string& role() const noexcept { return role_; }

   private:
    std::string role_;
};

/// The workflow was taken up more often than its limit allows, and is dead-lettered. Python:
/// MaxRecoveryAttemptsExceededError, 6.
class DBOS_EXPORT MaxRecoveryAttemptsExceeded : public Error {
   public:
    MaxRecoveryAttemptsExceeded(std::string workflow_id, std::int64_t max_attempts);
    ~MaxRecoveryAttemptsExceeded() override;
    std::int64_t max_attempts() const noexcept { return max_attempts_; }

   private:
    std::int64_t max_attempts_;
};

/// A step failed in every attempt; `errors()` holds one text `type: message` an attempt. Python:
/// DBOSMaxStepRetriesExceeded, 7.
class DBOS_EXPORT StepRetriesExhausted : public Error {
   public:
    StepRetriesExhausted(std::string workflow_id, std::string step_name, std::int64_t max_attempts,
                         std::vector<std::string> errors = {});
    ~StepRetriesExhausted() override;
    const std::string& step_name() const noexcept { return step_name_; }
    std::int64_t max_attempts() const noexcept { return max_attempts_; }
    const std::vector<std::string>& errors() const noexcept { return errors_; }

   private:
    std::string step_name_;
    std::int64_t max_attempts_;
    std::vector<std::string> errors_;
};

/// The id belongs to a workflow of another name, class or instance. Python: DBOSConflictingWorkflowError, 9.
class DBOS_EXPORT ConflictingWorkflow : public Error {
   public:
    /// `detail` says what differs: `it is "refund", this call asks for "checkout"`.
    ConflictingWorkflow(std::string workflow_id, std::string detail);
    ~ConflictingWorkflow() override;
    const std::string& detail() const noexcept { return detail_; }

   private:
    std::string detail_;
};

/// The step recorded under this number has another name: the code changed, or branched on something that is
/// no step. Python: DBOSUnexpectedStepError, 11. Sticky: every later durable call of the run throws it again.
class DBOS_EXPORT UnexpectedStep : public Error {
   public:
    UnexpectedStep(std::string workflow_id, std::int64_t step_id, std::string expected_name,
                   std::string recorded_name);
    ~UnexpectedStep() override;
    std::int64_t step_id() const noexcept { return step_id_; }
    /// What this run asked for.
    const std::string& expected_name() const noexcept { return expected_name_; }
    const std::string& recorded_name() const noexcept { return recorded_name_; }

   private:
    std::int64_t step_id_;
    std::string expected_name_;
    std::string recorded_name_;
};

/// Another workflow of the queue holds the deduplication id. Python: DBOSQueueDeduplicatedError, 12.
class DBOS_EXPORT QueueDeduplicated : public Error {
   public:
    QueueDeduplicated(std::string workflow_id, std::string queue_name, std::string deduplication_id);
    ~QueueDeduplicated() override;
    const std::string& queue_name() const noexcept { return queue_name_; }
    const std::string& deduplication_id() const noexcept { return deduplication_id_; }

   private:
    std::string queue_name_;
    std::string deduplication_id_;
};

/// The workflow whose result was awaited is cancelled. Python: DBOSAwaitedWorkflowCancelledError, 13.
class DBOS_EXPORT AwaitedWorkflowCancelled : public Error {
   public:
    explicit AwaitedWorkflowCancelled(std::string workflow_id);
    ~AwaitedWorkflowCancelled() override;
};

/// The workflow whose result was awaited is dead-lettered. Python:
/// DBOSAwaitedWorkflowMaxRecoveryAttemptsExceeded, 14.
class DBOS_EXPORT AwaitedWorkflowMaxRecovery : public Error {
   public:
    explicit AwaitedWorkflowMaxRecovery(std::string workflow_id);
    ~AwaitedWorkflowMaxRecovery() override;
};

/// A value did not arrive in a stream in time. Python: DBOSStreamTimeoutError, 16.
class DBOS_EXPORT StreamTimeout : public Error {
   public:
    StreamTimeout(std::string workflow_id, std::string key, double timeout_seconds);
    ~StreamTimeout() override;
    const std::string& key() const noexcept { return key_; }
    double timeout_seconds() const noexcept { return timeout_seconds_; }

   private:
    std::string key_;
    double timeout_seconds_;
};

/// The workflow requires one of several roles, and its user has none of them. It ends with this error and its body does not run;
/// its result then throws WorkflowFailed of the type name DBOSNotAuthorizedError. Python: DBOSNotAuthorizedError, 8.
class DBOS_EXPORT NotAuthorized : public Error {
   public:
    NotAuthorized(std::string workflow_id, std::string workflow_name, std::string authenticated_user,
                  std::vector<std::string> required_roles);
    ~NotAuthorized() override;
    const std::string& workflow_name() const noexcept { return workflow_name_; }
    /// Empty = none.
    const std::string& authenticated_user() const noexcept { return authenticated_user_; }
    const std::vector<std::string>& required_roles() const noexcept { return required_roles_; }

   private:
    std::string workflow_name_;
    std::string authenticated_user_;
    std::vector<std::string> required_roles_;
};

/// A step did not end within its timeout. Python: DBOSStepTimeoutError, 18.
class DBOS_EXPORT StepTimeout : public Error {
   public:
    StepTimeout(std::string workflow_id, std::string step_name, double timeout_seconds);
    ~StepTimeout() override;
    const std::string& step_name() const noexcept { return step_name_; }
    double timeout_seconds() const noexcept { return timeout_seconds_; }

   private:
    std::string step_name_;
    double timeout_seconds_;
};

/// A listing took longer than its limit. Python: DBOSQueryTimeoutError, 26.
class DBOS_EXPORT QueryTimeout : public Error {
   public:
    explicit QueryTimeout(double timeout_seconds);
    ~QueryTimeout() override;
    double timeout_seconds() const noexcept { return timeout_seconds_; }

   private:
    double timeout_seconds_;
};

/// The id is taken, and the call forbade to attach to its workflow. Python: DBOSWorkflowIDInUseError, 27.
class DBOS_EXPORT WorkflowIdInUse : public Error {
   public:
    explicit WorkflowIdInUse(std::string workflow_id, std::string workflow_status = {},
                             std::string workflow_name = {});
    ~WorkflowIdInUse() override;
    const std::string& workflow_status() const noexcept { return workflow_status_; }
    const std::string& workflow_name() const noexcept { return workflow_name_; }

   private:
    std::string workflow_status_;
    std::string workflow_name_;
};

/// A step's record cannot belong to this run: a gap, or a kind of record that the call does not write.
/// Python: DBOSStepNondeterminismError, 28. Sticky as UnexpectedStep.
class DBOS_EXPORT StepNondeterminism : public Error {
   public:
    StepNondeterminism(std::string workflow_id, std::int64_t step_id, std::string detail);
    ~StepNondeterminism() override;
    std::int64_t step_id() const noexcept { return step_id_; }
    const std::string& detail() const noexcept { return detail_; }

   private:
    std::int64_t step_id_;
    std::string detail_;
};

/// An asynchronous step was given up before it began: its Pending was destroyed first. Recorded as the step's
/// error.
class DBOS_EXPORT StepAbandoned : public Error {
   public:
    StepAbandoned(std::string workflow_id, std::string step_name);
    ~StepAbandoned() override;
    const std::string& step_name() const noexcept { return step_name_; }

   private:
    std::string step_name_;
};

/// The callable of a transactional step has ended its transaction (COMMIT, ROLLBACK), left a command in progress, or caught
/// the error of a statement after which only a rollback is possible. Nothing was committed by the library; what the callable
/// itself has committed stays. Recorded as the step's error.
class DBOS_EXPORT InvalidTransaction : public Error {
   public:
    /// `detail` says what it did.
    InvalidTransaction(std::string workflow_id, std::string step_name, std::string detail);
    ~InvalidTransaction() override;
    const std::string& step_name() const noexcept { return step_name_; }
    const std::string& detail() const noexcept { return detail_; }

   private:
    std::string step_name_;
    std::string detail_;
};

/// No queue, schedule, version or event of this name.
class DBOS_EXPORT NotFound : public Error {
   public:
    explicit NotFound(const std::string& message);
    ~NotFound() override;
};

/// A schedule, queue or version of this name exists already.
class DBOS_EXPORT AlreadyExists : public Error {
   public:
    explicit AlreadyExists(const std::string& message);
    ~AlreadyExists() override;
};

/// What was waited for did not happen in time. Nothing is wrong with it: the same wait may be repeated.
class DBOS_EXPORT Timeout : public Error {
   public:
    explicit Timeout(const std::string& message, std::string workflow_id = {});
    ~Timeout() override;
};

/// The client or application was destroyed while the call waited, or before it.
class DBOS_EXPORT ClientClosed : public Error {
   public:
    explicit ClientClosed(
        const std::string& message = "the client is closed: make the call before destroy()");
    ~ClientClosed() override;
};

/// Some calls of enqueue_bulk were refused; nothing was written.
class DBOS_EXPORT BulkRefused : public Error {
   public:
    struct Refusal {
        std::size_t index;         // in the call
        std::exception_ptr error;  // what enqueue would have thrown
    };
    explicit BulkRefused(std::vector<Refusal> refusals);
    ~BulkRefused() override;
    /// By index.
    const std::vector<Refusal>& refusals() const noexcept { return refusals_; }

   private:
    std::vector<Refusal> refusals_;
};

/// A write was sent, its acknowledgement was lost, and it cannot be told whether it was committed; a repeat could
/// undo what happened since, so there was none. The message names the call and the ids. Kind `other`,
/// outcome_unknown() true.
class DBOS_EXPORT OutcomeUnknown : public DatabaseError {
   public:
    explicit OutcomeUnknown(const std::string& message, std::string workflow_id = {});
    ~OutcomeUnknown() override;
};

/// Stored text does not hold the value that was asked for. The message reads
/// `at $[0].items[0].count: expected integer, got string "three"`.
class DBOS_EXPORT DecodeError : public Error {
   public:
    /// `refusal` is one of the refusal codes of the serialization formats (`bad_json`, `bad_utf8`,
    /// `bad_number`, `bad_shape`, `unknown_format`, `depth`, `limit`, …), or `bad_value` when the text is
    /// fine but the C++ type is not.
    DecodeError(std::string path, std::string expected, std::string found, std::string refusal = "bad_value",
                std::string format = {});
    ~DecodeError() override;
    /// JSON path of the value, `$` for the whole.
    const std::string& path() const noexcept { return path_; }
    const std::string& expected() const noexcept { return expected_; }
    const std::string& found() const noexcept { return found_; }
    const std::string& refusal() const noexcept { return refusal_; }
    /// Name of the format, empty if the text was decoded already.
    const std::string& format() const noexcept { return format_; }

   private:
    std::string path_;
    std::string expected_;
    std::string found_;
    std::string refusal_;
    std::string format_;
};

/// A value cannot be written in the format of its row. Nothing was written. Refusal code `cannot_encode`.
class DBOS_EXPORT EncodeError : public Error {
   public:
    EncodeError(std::string path, std::string reason, std::string format = {});
    ~EncodeError() override;
    /// JSON path of the value, `$` for the whole.
    const std::string& path() const noexcept { return path_; }
    const std::string& reason() const noexcept { return reason_; }
    /// Name of the format, empty if the value could not even be made.
    const std::string& format() const noexcept { return format_; }

   private:
    std::string path_;
    std::string reason_;
    std::string format_;
};

/// Base of WorkflowFailed and StepFailed: an error that was recorded, of a type that the contract does not
/// list.
class DBOS_EXPORT RecordedError : public Error {
   public:
    RecordedError(const std::string& message, std::string workflow_id, Failure failure);
    ~RecordedError() override;
    /// All that is known of it: type, message, code, data, raw text and format. Include dbos/value.hpp.
    const Failure& failure() const noexcept { return *failure_; }
    /// Type name on the wire: `ValueError`, `CardDeclined`, …
    const std::string& type_name() const noexcept;
    /// Its own message, without the prefix that what() carries.
    const std::string& message() const noexcept;

   private:
    std::shared_ptr<const Failure> failure_;
};

/// A workflow ended with an error of a type that its contract does not list (or that another language wrote).
class DBOS_EXPORT WorkflowFailed : public RecordedError {
   public:
    WorkflowFailed(std::string workflow_id, Failure failure);
    ~WorkflowFailed() override;
};

/// A step ended with an error of a type that the contract does not list. Thrown on the first run and on each
/// replay.
class DBOS_EXPORT StepFailed : public RecordedError {
   public:
    StepFailed(std::string workflow_id, std::string step_name, Failure failure);
    ~StepFailed() override;
    const std::string& step_name() const noexcept { return step_name_; }

   private:
    std::string step_name_;
};

/// Unwinds a workflow body that must not go on. Deliberately no std::exception, so that `catch (const
/// std::exception&)` does not swallow it. Before any `catch (...)` in a body stands `catch (const
/// dbos::Interrupt&) { throw; }`; who swallows one meets it again at the next durable call.
class DBOS_EXPORT Interrupt {
   public:
    enum class Reason : std::uint8_t {
        cancelled,       ///< the workflow was cancelled, or its deadline has passed
        lost_ownership,  ///< another executor has taken it over
        shutdown,        ///< the application shuts down
        park,            ///< a long wait frees the thread; the body is replayed when it is over
    };
    Interrupt(Reason reason, std::string workflow_id);
    virtual ~Interrupt();
    Interrupt(const Interrupt&) = default;
    Interrupt(Interrupt&&) = default;
    Interrupt& operator=(const Interrupt&) = default;
    Interrupt& operator=(Interrupt&&) = default;
    Reason reason() const noexcept { return reason_; }
    const std::string& workflow_id() const noexcept { return workflow_id_; }

   private:
    Reason reason_;
    std::string workflow_id_;
};

}  // namespace dbos
