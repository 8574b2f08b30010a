// ctx.transaction: the loop of runtime protocol 3.6, with safety 36, 38 and 39.
#include <cxxabi.h>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "client/marks.hpp"
#include "core/log.hpp"
#include "core/options.hpp"
#include "dbos/context_transactions.hpp"
#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "runtime/errors.hpp"
#include "runtime/executor.hpp"
#include "runtime/transactions.hpp"
#include "sysdb/in_transaction.hpp"

namespace dbos {

namespace runtime {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kCommitRefused = "sqlite:531";  // SQLITE_CONSTRAINT_COMMITHOOK
constexpr auto kLongHold = std::chrono::seconds(1);        // of the writer lock of the system database's file
constexpr auto kRefreshWithin = std::chrono::seconds(2);   // the lease, before that lock

/// How long to wait before turn `n + 1`: 1 ms, half as much again each time, at most 2 s.
milliseconds pause_after(int n) {
    constexpr double kLongest = 2000;
    return milliseconds(static_cast<int>(std::min(std::pow(1.5, n), kLongest)));
}

detail::LentConnection to_lent(const sql::Lent& lent) { return {lent.postgres, lent.sqlite}; }

/// What a callable did that cannot be committed; empty = nothing.
std::string misuse(const sql::Returned& returned) {
    switch (returned.state) {
        case sql::Returned::State::ended:
            return "the callable has ended its transaction; it must leave COMMIT and ROLLBACK to the "
                   "library: return to commit, throw to roll back";
        case sql::Returned::State::failed:
            return "a statement failed (SQLSTATE " + returned.error +
                   ") and the callable went on, but nothing can be committed after that: let the error pass, "
                   "or use a savepoint";
        case sql::Returned::State::busy:
            return "the callable left a command in progress on the connection: read all its results, and "
                   "leave pipeline mode";
        case sql::Returned::State::open:
        case sql::Returned::State::broken: break;
    }
    return {};
}

/// Makes calls on a connection fail when the run is cancelled or taken over. A shutdown lets the transaction end.
class Interrupting {
   public:
    Interrupting(Run& run, sql::Connection& connection) : run_(run) { run_.lend(connection); }
    ~Interrupting() { run_.lend_nothing(); }
    Interrupting(const Interrupting&) = delete;
    Interrupting& operator=(const Interrupting&) = delete;

   private:
    Run& run_;
};

/// Says so when a callable holds the writer lock for long, which every write of the engine waits for.
class HoldWatch {
   public:
    HoldWatch(Run& run, const std::string& name, bool needed) : timers_(run.executor().timers()) {
        if (!needed) return;
        id_ = timers_.at(seam::steady_now() + kLongHold, [&executor = run.executor(), id = run.id(), name] {
            log_to(executor.log(), LogLevel::warn,
                   "a transaction holds the writer lock of the system database's file for over 1 s; every "
                   "other workflow waits: do the slow part in a step before it",
                   {{"workflow_id", id}, {"transaction", name}});
        });
    }
    ~HoldWatch() {
        if (id_) timers_.cancel(*id_);
    }
    HoldWatch(const HoldWatch&) = delete;
    HoldWatch& operator=(const HoldWatch&) = delete;

   private:
    Timers& timers_;
    std::optional<Timers::Id> id_;
};

class TransactionStep {
   public:
    TransactionStep(Run& run, std::shared_ptr<Datasource> datasource, const detail::TransactionCall& call,
                    const TransactionOptions& options, std::int32_t id, const std::string& name)
        : run_(run),
          executor_(run.executor()),
          datasource_(std::move(datasource)),
          in_system_(datasource_->owner() != nullptr),
          holds_system_(datasource_->same_file(executor_.database().options().open.url)),
          call_(call),
          options_(options),
          format_(executor_.serializer()) {
        record_.function_id = id;
        record_.function_name = name;
        record_.started_at_ms = executor_.durable_now();
        record_.serialization = std::string(format_.name());
        record_.application_name = executor_.application_name();
        run_.name_step(name);
    }
    ~TransactionStep() { run_.name_step({}); }
    TransactionStep(const TransactionStep&) = delete;
    TransactionStep& operator=(const TransactionStep&) = delete;

    /// The record that stands in the system database.
    sysdb::StepRecord run() {
        for (int turns = 0;; ++turns) {
            run_.throw_if_interrupted();
            switch (guarded_turn()) {
                case Turn::again: break;
                case Turn::write: return run_.record(completed(), sysdb::OnConflict::report);
                case Turn::written: return record_;
                case Turn::found: return run_.settle(record_, sysdb::OnConflict::report, std::move(found_));
            }
            // With a condition, though it never holds: the run must not park between two turns.
            run_.wait({.until = executor_.durable_now() + pause_after(turns).count(),
                       .ready = [] { return false; }});
        }
    }

   private:
    enum class Turn : std::uint8_t {
        again,
        write,    // record_ is what happened, and to be recorded
        written,  // the same, and it stands in the system database
        found     // found_ stands there
    };

    Turn guarded_turn() {
        try {
            return turn();
        } catch (const DatabaseError& error) {
            if (!error.transient() && !error.outcome_unknown()) {
                give_up_or_fail(error.kind());
                return Turn::write;
            }
            if (error.kind() == DatabaseErrorKind::connection && !run_.interrupted()) {
                log_to(
                    executor_.log(), LogLevel::warn, "a transaction could not be done and is tried again",
                    {{"workflow_id", run_.id()}, {"step", record_.function_name}, {"error", error.what()}});
            }
            return Turn::again;
        } catch (const std::exception&) {  // a usage that the drivers refuse
            give_up_or_fail(DatabaseErrorKind::other);
            return Turn::write;
        }
    }

    Turn turn() {
        const auto lease = datasource_->pool().acquire();
        sql::Connection& connection = *lease;
        const Interrupting interrupting(run_, connection);
        if (options_.read_only) return read_only_turn(connection);
        return in_system_ ? system_turn(connection) : witness_turn(connection);
    }

    Turn read_only_turn(sql::Connection& connection) {
        run_.ensure_owned();
        connection.begin(isolation_of(*datasource_, options_));
        if (!call(connection)) return Turn::again;
        connection.rollback();
        return Turn::write;
    }

    // ----- in a database of the program

    Turn witness_turn(sql::Connection& connection) {
        if (key_.empty()) key_ = executor_.transactions().key_of(run_);
        datasource_->ensure_table(connection);
        if (!seam::planted(seam::Bug::witness_ignored) && replay(connection)) return Turn::write;
        if (!error_) {
            run_.ensure_owned();
            if (holds_system_) executor_.lease().refresh(kRefreshWithin);
            connection.begin(isolation_of(*datasource_, options_));
            const HoldWatch watch(run_, record_.function_name, holds_system_);
            if (!call(connection)) return Turn::again;
            if (error_) connection.rollback();
        }
        if (error_) connection.begin(sql::Isolation::read_committed);  // the error's witness is alone
        run_.reached(Point::checkpoint, record_.function_id, record_.function_name);
        const bool inserted = datasource_->insert(connection, key_, record_.function_id,
                                                  {record_.output, record_.error, record_.serialization});
        if (!inserted && !seam::planted(seam::Bug::witness_ignored)) {
            // Of an attempt of ours whose acknowledgement was lost, or of another run of this workflow: it is what happened.
            connection.rollback();
            return replay(connection) ? Turn::write : Turn::again;
        }
        if (!executor_.database().still_owned({&run_.fence(), 1}).front()) {
            connection.rollback();
            lost();
        }
        if (!commit(connection)) return Turn::again;
        run_.reached(Point::committed, record_.function_id, record_.function_name);
        return Turn::write;
    }

    /// Whether there is a witness, which record_ then tells of.
    bool replay(sql::Connection& connection) {
        const auto witness = datasource_->find(connection, key_, record_.function_id);
        if (!witness) return false;
        seam::reach(seam::Situation::witness_found);
        record_.output = witness->output;
        record_.error = witness->error;
        record_.serialization = witness->serialization;
        return true;
    }

    // ----- in the system database

    Turn system_turn(sql::Connection& connection) {
        // After a lost acknowledgement: what stands there, if anything does, is what happened.
        if (commit_possible_ && find(connection) == Turn::found) return Turn::found;
        run_.ensure_owned();
        if (holds_system_) executor_.lease().refresh(kRefreshWithin);
        const HoldWatch watch(run_, record_.function_name, holds_system_ && !error_);
        if (!error_) {
            connection.begin(isolation_of(*datasource_, options_));
            if (!call(connection)) return Turn::again;
            if (error_) connection.rollback();
        }
        if (error_) connection.begin(sql::Isolation::read_committed);
        completed();  // once: it tells our record from another's
        run_.reached(Point::checkpoint, record_.function_id, record_.function_name);
        switch (sysdb::checkpoint_in(connection, run_.fence(), record_)) {
            case sysdb::CheckpointIn::inserted: break;
            case sysdb::CheckpointIn::lost: connection.rollback(); lost();
            case sysdb::CheckpointIn::exists: connection.rollback(); return find(connection);
        }
        if (!commit(connection)) return Turn::again;
        run_.reached(Point::recorded, record_.function_id, record_.function_name);
        return Turn::written;
    }

    Turn find(sql::Connection& connection) {
        found_ = sysdb::read_checkpoint(connection, run_.fence(), record_);
        return found_.kind == sysdb::StepResult::Kind::nothing ? Turn::again : Turn::found;
    }

    // ----- in both

    /// Runs the callable in the transaction that has begun. False = again, after a rollback. What it returned or threw stands in
    /// record_, an error in error_ as well.
    bool call(sql::Connection& connection) {
        const sql::Lent lent = connection.lend(options_.read_only);
        struct Back {
            sql::Connection& connection;
            bool due = true;
            ~Back() {
                if (due) static_cast<void>(connection.take_back());
            }
        } back{connection};
        Value value;
        std::exception_ptr error;
        bool fresh = false;
        {
            const client::BodyMarkLifted lifted;
            const client::TransactionMark mark;
            run_.step_begins(record_.function_id);
            struct Ended {
                Run& run;
                ~Ended() { run.step_ended(); }
            } const ended{run_};
            run_.reached(Point::step, record_.function_id, record_.function_name);
            const InUserCode user(run_);
            // The last look stands directly before the callable. Nobody waits for the lease with a transaction open.
            fresh = executor_.lease().fresh(run_.checked_lapse());
            try {
                if (fresh) value = call_.invoke(call_.object, to_lent(lent));
            } catch (const Interrupt&) {
                throw;
            } catch (abi::__forced_unwind&) {
                throw;
            } catch (...) {
                error = std::current_exception();
            }
        }
        back.due = false;
        const sql::Returned returned = connection.take_back();
        // An error after the interrupt may be nothing but its consequence.
        if (error || returned.state != sql::Returned::State::open) run_.throw_if_interrupted();
        const bool ours =
            returned.state == sql::Returned::State::open || returned.state == sql::Returned::State::failed;
        const bool again = !fresh || returned.state == sql::Returned::State::broken ||
                           ((error || returned.state == sql::Returned::State::failed) && ours &&
                            lost_against_another(returned.error, error));
        if (again) {
            connection.rollback();
            return false;
        }
        if (!error || returned.error == kCommitRefused) {
            if (std::string what = misuse(returned); !what.empty()) {
                error = std::make_exception_ptr(
                    InvalidTransaction(run_.id(), record_.function_name, std::move(what)));
            }
        }
        if (!error) {
            try {
                record_.output = format_.encode(value);
            } catch (const std::exception&) {  // what cannot be stored is the step's recorded error
                error = std::current_exception();
            }
        }
        if (error) fail_with(error);
        return true;
    }

    /// False = again: the commit was refused for a reason of the program's data.
    bool commit(sql::Connection& connection) {
        commit_possible_ = true;
        try {
            connection.commit();
        } catch (const DatabaseError& refused) {
            if (refused.transient() || refused.outcome_unknown() || error_) throw;
            fail_with(std::current_exception());  // a deferred constraint
            return false;
        }
        return true;
    }

    void fail_with(const std::exception_ptr& error) {
        error_ = true;
        record_.output.reset();
        record_.error = encode_error(format_, error, run_.errors());
        record_.serialization = std::string(format_.name());
    }

    /// The datasource refuses what the library itself needs: the exception that is being handled.
    void give_up_or_fail(DatabaseErrorKind kind) {
        const auto error = std::current_exception();
        if (commit_possible_ || kind == DatabaseErrorKind::closed) {
            // Whether the writes are there cannot be seen: no record may say one or the other.
            log_to(
                executor_.log(), LogLevel::error,
                "a transaction may have been committed, and its datasource cannot be asked; the workflow is "
                "left to be recovered",
                {{"workflow_id", run_.id()},
                 {"step", record_.function_name},
                 {"error", describe(error).message}});
            run_.give_up(kind);
            run_.throw_if_interrupted();
        }
        if (!error_) fail_with(error);
    }

    [[noreturn]] void lost() {
        executor_.explain_loss(run_);
        run_.throw_if_interrupted();
        throw Interrupt(Interrupt::Reason::lost_ownership, run_.id());
    }

    const sysdb::StepRecord& completed() {
        if (!record_.completed_at_ms) record_.completed_at_ms = executor_.durable_now();
        return record_;
    }

    Run& run_;
    Executor& executor_;
    const std::shared_ptr<Datasource> datasource_;
    const bool in_system_;
    const bool holds_system_;  // while the callable runs, no other write of the system database can
    const detail::TransactionCall& call_;
    const TransactionOptions& options_;
    const Serializer& format_;
    std::string key_;
    sysdb::StepRecord record_;
    sysdb::StepResult found_;
    bool error_ = false;            // the callable has failed: its error is what is recorded
    bool commit_possible_ = false;  // a COMMIT was sent
};

}  // namespace
}  // namespace runtime

namespace detail {

Value run_transaction(runtime::Run& run, const std::shared_ptr<runtime::Datasource>& datasource,
                      const Name& name, const TransactionCall& call, const TransactionOptions& options) {
    run.enter("ctx.transaction");
    const runtime::InEngine engine(run);
    runtime::Executor& executor = run.executor();
    if (datasource->owner() != nullptr && datasource->owner() != &executor) {
        throw UsageError(
            "ctx.transaction: the datasource is the system database of another App: give that of this one",
            run.id());
    }
    core::check_step({}, name.text());
    const std::int32_t id = run.reserve();
    const std::string step_name = name.string();
    executor.transactions().used(run, datasource);
    if (const auto* record = run.recorded(id, step_name)) return runtime::deliver(run, *record, step_name);
    runtime::TransactionStep step(run, datasource, call, options, id, step_name);
    return runtime::deliver(run, step.run(), step_name);
}

void run_alone(runtime::Datasource& datasource, const TransactionCall& call,
               const TransactionOptions& options) {
    client::refuse_in_transaction("run() of a datasource");
    if (client::thread_marks().body_database != nullptr) {
        throw UsageError(
            "run() of a datasource was called in the body of a workflow, where it would run again at every "
            "replay: use ctx.transaction");
    }
    for (int turns = 0;; ++turns) {
        const auto lease = datasource.pool().acquire();
        sql::Connection& connection = *lease;
        connection.begin(runtime::isolation_of(datasource, options));
        const sql::Lent lent = connection.lend(options.read_only);
        std::exception_ptr error;
        {
            const client::TransactionMark mark;
            try {
                call.invoke(call.object, runtime::to_lent(lent));
            } catch (...) {
                error = std::current_exception();
            }
        }
        const sql::Returned returned = connection.take_back();
        const bool lost = returned.state != sql::Returned::State::ended &&
                          runtime::lost_against_another(returned.error, error);
        if (returned.state == sql::Returned::State::open && !error) {
            try {
                connection.commit();
                return;
            } catch (const DatabaseError& refused) {
                if (refused.outcome_unknown()) {
                    throw OutcomeUnknown(
                        std::string(
                            "run() of a datasource was sent COMMIT, but the acknowledgement was lost, and "
                            "a repeat could do it twice; a workflow's ctx.transaction tells them apart. "
                            "The error was: ") +
                        refused.what());
                }
                if (!refused.transient()) throw;
            }
        } else {
            connection.rollback();
            if (!lost && error) std::rethrow_exception(error);
            if (!lost && returned.state == sql::Returned::State::broken) {
                throw DatabaseError(
                    DatabaseErrorKind::connection,
                    "the connection was lost during run() of a datasource; nothing was committed");
            }
            if (!lost) throw InvalidTransaction({}, "run()", runtime::misuse(returned));
        }
        seam::sleep_for(runtime::pause_after(turns));
    }
}

}  // namespace detail

}  // namespace dbos
