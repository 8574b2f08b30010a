#include "runtime/waits.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "client/core.hpp"
#include "client/marks.hpp"
#include "core/durations.hpp"
#include "core/log.hpp"
#include "core/options.hpp"
#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "runtime/errors.hpp"
#include "runtime/executor.hpp"
#include "runtime/operations.hpp"
#include "sysdb/database.hpp"

namespace dbos {

namespace runtime {

namespace {

constexpr const char* kRecv = "DBOS.recv";
constexpr const char* kGetEvent = "DBOS.getEvent";
constexpr const char* kReadStream = "DBOS.readStream";
constexpr const char* kReadStreamOffset = "DBOS.readStreamOffset";
constexpr const char* kWaitFirst = "DBOS.waitFirst";
constexpr const char* kWaitAll = "DBOS.waitAll";
constexpr const char* kSelect = "DBOS.select";

/// The value of a record whose output may be absent: nothing came in time.
std::optional<Value> deliver_optional(Run& run, const sysdb::StepRecord& record) {
    if (!record.output && (!record.error || record.error->empty())) return std::nullopt;
    return deliver(run, record, record.function_name);
}

/// A lost connection is no result: the run ends here and is recovered.
[[noreturn]] void rethrow_wait_error(Run& run, const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const ClientClosed&) {
        run.give_up(DatabaseErrorKind::closed);
    } catch (const DatabaseError& failure) {
        run.give_up(failure, "a wait could not ask the database; the workflow is left to be recovered",
                    "wait");
    }
    run.throw_if_interrupted();
    std::rethrow_exception(error);
}

/// Calls what may ask the database.
template <class F>
auto asking(Run& run, F&& call) {
    try {
        return call();
    } catch (const DatabaseError&) {
        rethrow_wait_error(run, std::current_exception());
    }
}

bool is_deleted(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const NonexistentWorkflow&) {
        return true;
    } catch (...) {
        return false;
    }
}

}  // namespace

sysdb::Millis instant_after(sysdb::Millis begun, Duration duration) {
    const auto span = core::to_millis(duration);
    return span > std::numeric_limits<sysdb::Millis>::max() - begun
               ? std::numeric_limits<sysdb::Millis>::max()
               : begun + span;
}

sysdb::Millis durable_instant(Run& run, std::int32_t id, sysdb::Millis begun, sysdb::Millis wake,
                              bool is_sleep) {
    // Integer milliseconds in portable JSON: only this library reads it back (Python writes seconds there).
    const auto parse = [&](const sysdb::StepRecord& record) -> sysdb::Millis {
        try {
            return std::stoll(record.output.value_or(""));
        } catch (const std::exception&) {
            run.fail_for_good(std::make_exception_ptr(StepNondeterminism(
                run.id(), id, "its record holds no instant: " + record.output.value_or("NULL"))));
        }
    };
    if (const auto* record = run.recorded(id, kSleep)) return parse(*record);
    sysdb::StepRecord record = new_record(run, id, kSleep);
    record.output = std::to_string(wake);
    record.started_at_ms = begun;
    record.completed_at_ms = is_sleep ? wake : begun;
    record.serialization = "portable_json";
    return parse(run.record(record, sysdb::OnConflict::first_wins));
}

Deadline::Deadline(Run& run, Duration timeout)
    : run_(run),
      id_(run.reserve()),
      begun_(run.executor().durable_now()),
      at_(instant_after(begun_, timeout)) {}

sysdb::Millis Deadline::make_durable() {
    if (!std::exchange(durable_, true)) at_ = durable_instant(run_, id_, begun_, at_, false);
    return at_;
}

sysdb::Millis Deadline::begun() const {
    const auto* record = run_.recorded(id_, kSleep);
    return record && record->started_at_ms ? *record->started_at_ms : begun_;
}

bool Deadline::passed() const { return at_ <= run_.executor().durable_now(); }

client::WaitOptions polled(Duration interval) {
    return {.polling_interval = core::to_nanos(interval), .seen = true};
}

sysdb::StepRecord DurableLoop::run(Run& of) {
    for (;;) {
        news = waiting->take_news();
        const bool last = until && *until <= of.executor().durable_now();
        if (auto record = asking(of, [&] { return attempt(last); })) return std::move(*record);
        const WakeSpec spec{.until = until,
                            .waiting = waiting,
                            .check = [&] { return check && asking(of, check); },
                            .remember = remember};
        static_cast<void>(of.wait(spec));
    }
}

namespace {

/// What the waits with a time-out have in common: two numbers, of the operation and of its end.
class TimedWait : public Selectable {
   public:
    TimedWait(Run& run, const char* call, const char* name, Duration timeout)
        : Selectable(run, call), name_(name), id_(run.reserve()), deadline_(run, timeout) {}

    bool ready() const override { return false; }
    void finish() noexcept override {}
    std::optional<sysdb::Millis> make_due() override { return deadline_.make_durable(); }

   protected:
    std::optional<sysdb::StepRecord> replayed() {
        const auto* record = run_->recorded(id_, name_);
        return record ? std::optional(*record) : std::nullopt;
    }
    /// Of the whole wait, as the other SDKs record it.
    sysdb::StepRecord new_record() {
        sysdb::StepRecord record = runtime::new_record(*run_, id_, name_);
        // Another host may have begun it, whose clock was ahead of this one's.
        record.started_at_ms = std::min(deadline_.begun(), *record.started_at_ms);
        return record;
    }

    const char* const name_;
    const std::int32_t id_;
    Deadline deadline_;
};

class Receive final : public TimedWait {
   public:
    Receive(Run& run, const char* call, std::string topic, Duration timeout)
        : TimedWait(run, call, kRecv, timeout), topic_(std::move(topic)) {}
    ~Receive() override { ended(); }

    std::optional<Value> get() override {
        take();
        const InEngine engine(*run_);
        if (const auto record = replayed()) {
            const bool again = seam::planted(seam::Bug::timeout_forgotten) && !record->output;
            return again && has_message() ? std::optional(Value("late")) : deliver_once(*record);
        }
        // Registered before the first look, so that no message falls in between.
        auto waiting = std::make_shared<Waiting>(run_->executor());
        watch(waiting);
        // A wait without a time is over at its first look.
        if (auto record = consume(deadline_.passed())) return deliver_once(*record);
        DurableLoop loop;
        loop.until = make_due();
        loop.waiting = waiting;
        loop.attempt = [&](bool last) { return consume(last); };
        loop.check = [&] { return look(); };
        return deliver_once(loop.run(*run_));
    }
    void watch(const std::shared_ptr<Waiting>& waiting) override {
        source_ = waiting->on_message(run_->id(), topic_);
    }
    bool has_come(const Waiting& waiting) const override { return waiting.told(source_).anything(); }
    bool look() override {
        if (run_->recorded(id_, name_)) return true;
        return has_message();
    }

   private:
    bool has_message() const {
        const std::pair<std::string, std::string> mailbox[] = {{run_->id(), topic_}};
        return run_->executor().database().have_messages(mailbox).front();
    }
    std::optional<Value> deliver_once(const sysdb::StepRecord& record) {
        ended();
        return deliver_optional(*run_, record);
    }
    /// Another receive of the topic may begin.
    void ended() noexcept {
        if (std::exchange(in_flight_, false)) run_->receive_ended(topic_);
    }
    std::optional<sysdb::StepRecord> consume(bool last) {
        sysdb::StepRecord record = new_record();
        record.completed_at_ms = run_->executor().durable_now();
        auto result =
            run_->write_effect(record, sysdb::ReceiveEffect{.topic = topic_, .record_nothing = last});
        if (result.kind == sysdb::StepResult::Kind::nothing) return std::nullopt;
        return run_->settle(record, sysdb::OnConflict::report, std::move(result));
    }
    const std::string topic_;
    std::size_t source_ = 0;
    bool in_flight_ = true;
};

class GetEvent final : public TimedWait {
   public:
    GetEvent(Run& run, const char* call, sysdb::EventKey key, Duration timeout,
             const GetEventOptions& options)
        : TimedWait(run, call, kGetEvent, timeout),
          key_(std::move(key)),
          interval_(options.polling_interval) {}

    std::optional<Value> get() override {
        take();
        const InEngine engine(*run_);
        if (const auto record = replayed()) return deliver_optional(*run_, *record);
        auto waiting = std::make_shared<Waiting>(run_->executor());
        watch(waiting);
        if (asking(*run_, [&] { return look(); }) || deadline_.passed())
            return deliver_optional(*run_, commit());
        DurableLoop loop;
        loop.until = make_due();
        loop.waiting = waiting;
        loop.attempt = [&](bool last) -> std::optional<sysdb::StepRecord> {
            const auto told = waiting->told(source_);
            if (told.error) rethrow_wait_error(*run_, told.error);
            if (told.event) found_ = told.event;
            if (last && !found_) static_cast<void>(look());
            if (found_ || last) return commit();
            return std::nullopt;
        };
        loop.check = [&] { return look(); };
        return deliver_optional(*run_, loop.run(*run_));
    }
    void watch(const std::shared_ptr<Waiting>& waiting) override {
        source_ = waiting->on_event(key_, polled(interval_));
    }
    bool has_come(const Waiting& waiting) const override { return waiting.told(source_).anything(); }
    bool look() override {
        if (run_->recorded(id_, name_)) return true;
        found_ = run_->executor().database().event(key_);
        return found_.has_value();
    }

   private:
    sysdb::StepRecord commit() {
        sysdb::StepRecord record = new_record();
        if (found_) {
            record.output = found_->value;
            record.serialization = found_->serialization;
        }
        record.completed_at_ms = run_->executor().durable_now();
        return run_->record(record, sysdb::OnConflict::report);
    }
    const sysdb::EventKey key_;
    const Duration interval_;
    std::size_t source_ = 0;
    std::optional<sysdb::EventRow> found_;
};

class Sleep final : public Selectable {
   public:
    Sleep(Run& run, const char* call, Duration duration)
        : Sleep(run, call, duration, run.executor().durable_now()) {}
    std::optional<Value> get() override {
        take();
        const InEngine engine(*run_);
        run_->wait({.until = wake_});
        return Value();
    }
    bool ready() const override { return wake_ <= run_->executor().durable_now(); }
    void finish() noexcept override {}
    std::optional<sysdb::Millis> make_due() override { return wake_; }
    void watch(const std::shared_ptr<Waiting>&) override {}
    bool has_come(const Waiting&) const override { return ready(); }
    bool look() override { return ready(); }

   private:
    Sleep(Run& run, const char* call, Duration duration, sysdb::Millis begun)
        : Selectable(run, call),
          wake_(end_of(durable_instant(run, run.reserve(), begun, instant_after(begun, duration), true))) {}
    static sysdb::Millis end_of(sysdb::Millis instant) {
        constexpr sysdb::Millis kSecond = 1000;
        return seam::planted(seam::Bug::sleep_truncated) ? instant / kSecond * kSecond : instant;
    }
    const sysdb::Millis wake_;
};

/// The values of a stream, each read recorded.
class BodyStream final : public detail::StreamSource {
   public:
    BodyStream(Run& run, sysdb::StreamPosition from, const ReadStreamOptions& options)
        : run_(run.shared_from_this()), at_(std::move(from)), options_(options) {}

    std::optional<Value> next() override {
        run_->enter("Stream::next");
        if (ended_) return std::nullopt;
        const InEngine engine(*run_);
        const std::int32_t id = run_->reserve();
        const auto* recorded = run_->recorded(id, kReadStream);
        const auto record =
            recorded ? *recorded : read_at(*run_, at_, options_, new_record(*run_, id, kReadStream));
        Value value = deliver(*run_, record, kReadStream);
        if (value.kind() == Kind::string && value.as_string() == sysdb::kStreamEnd) {
            ended_ = true;
            return std::nullopt;
        }
        ++at_.offset;
        return value;
    }
    void next_async(const std::shared_ptr<detail::FutureCore>&, NextDone) override {
        throw UsageError("a body reads a stream with ctx.read_stream(), whose reads are recorded",
                         run_->id());
    }
    const std::shared_ptr<detail::CallbackQueue>& callbacks() const noexcept override {
        return run_->executor().callbacks();
    }

    /// Waits for the value at a position and commits it (or the end, or the time-out) as the record.
    static sysdb::StepRecord read_at(Run& run, const sysdb::StreamPosition& at,
                                     const ReadStreamOptions& options, const sysdb::StepRecord& record) {
        try {
            return wait_at(run, at, options, record);
        } catch (const DecodeError&) {
            return record_failure(run, record, std::current_exception());
        }
    }

   private:
    static sysdb::StepRecord wait_at(Run& run, const sysdb::StreamPosition& at,
                                     const ReadStreamOptions& options, const sysdb::StepRecord& record) {
        Executor& executor = run.executor();
        std::optional<sysdb::Millis> until;  // not durable: a recovery waits anew
        if (options.timeout)
            until = run.remembered(record.function_id)
                        .value_or(instant_after(run.executor().durable_now(), *options.timeout));
        auto waiting = std::make_shared<Waiting>(executor);
        auto source = waiting->on_stream(at, polled(options.polling_interval));
        const Look first = asking(run, [&] { return look_at(run, at); });
        if (first.missing)
            return record_failure(run, record, std::make_exception_ptr(NonexistentWorkflow(at.workflow_id)));
        if (first.value) return record_value(run, record, *first.value);
        DurableLoop loop;
        loop.until = until;
        loop.remember = record.function_id;
        loop.waiting = waiting;
        std::optional<Value> seen;
        loop.attempt = [&](bool last) -> std::optional<sysdb::StepRecord> {
            const auto told = waiting->told(source);
            if (told.error) {
                if (is_deleted(told.error)) return record_failure(run, record, told.error);
                rethrow_wait_error(run, told.error);
            }
            if (!seen && (told.there || last)) seen = look_at(run, at).value;
            if (seen) return record_value(run, record, *seen);
            // It has told once and has gone: the writer had ended, and runs again since.
            if (told.there) source = waiting->on_stream(at, polled(options.polling_interval));
            if (!last) return std::nullopt;
            return record_failure(
                run, record,
                std::make_exception_ptr(StreamTimeout(at.workflow_id, at.key, options.timeout->count())));
        };
        loop.check = [&] {
            seen = look_at(run, at).value;
            return seen.has_value();
        };
        return loop.run(run);
    }

    struct Look {
        bool missing = false;
        std::optional<Value> value;  // or the mark of the end
    };
    static Look look_at(Run& run, const sysdb::StreamPosition& at) {
        Executor& executor = run.executor();
        for (bool again = false;; again = true) {
            sysdb::StreamPage page = executor.database().read_stream(at);
            if (!page.status) return {.missing = true, .value = {}};
            if (!page.values.empty()) {
                const auto& stored = page.values.front();
                if (stored.value == sysdb::kStreamEnd)
                    return {.value = Value(std::string(sysdb::kStreamEnd))};
                return {.value = executor.format_of(stored.serialization).decode(stored.value)};
            }
            if (!is_terminal(*page.status)) return {};
            // Once more: a value may have been committed between the two looks of whoever wrote it.
            if (again) return {.value = Value(std::string(sysdb::kStreamEnd))};
        }
    }
    const std::shared_ptr<Run> run_;
    sysdb::StreamPosition at_;
    const ReadStreamOptions options_;
    bool ended_ = false;
};

/// Waits for the end of one of several workflows, or of all.
class Ends {
   public:
    Ends(Run& run, bool first, const std::vector<std::string>& ids, const WaitWorkflowsOptions& options)
        : run_(run),
          first_(first),
          ids_(ids),
          options_(options),
          left_(ids.begin(), ids.end()),
          different_(left_.size()) {}

    /// wait_first: the id of one that has ended.
    Value wait() {
        const InEngine engine(run_);
        const char* name = first_ ? kWaitFirst : kWaitAll;
        std::optional<sysdb::Millis> until;
        if (options_.timeout) until = Deadline(run_, *options_.timeout).make_durable();
        const std::int32_t id = run_.reserve();
        if (const auto* record = run_.recorded(id, name)) return deliver(run_, *record, name);
        const sysdb::StepRecord record = new_record(run_, id, name);
        if (asking(run_, [&] { return look(); })) return deliver(run_, ended(record), name);
        DurableLoop loop;
        loop.until = until;
        loop.waiting = std::make_shared<Waiting>(run_.executor());
        watch(*loop.waiting);
        loop.attempt = [&](bool last) -> std::optional<sysdb::StepRecord> {
            if (const auto error = hear(*loop.waiting, loop.news)) {
                if (is_deleted(error)) return record_failure(run_, record, error);
                rethrow_wait_error(run_, error);
            }
            if (come() || (last && look())) return ended(record);
            if (!last) return std::nullopt;
            return record_failure(
                run_, record,
                std::make_exception_ptr(Timeout(std::string(first_ ? "none" : "not all") + " of " +
                                                    std::to_string(ids_.size()) + " workflows ended within " +
                                                    std::to_string(options_.timeout->count()) + " s",
                                                run_.id())));
        };
        loop.check = [&] { return look(); };
        return deliver(run_, loop.run(run_), name);
    }

   private:
    void watch(Waiting& waiting) {
        for (const std::string& id : left_)
            sources_.emplace(waiting.on_end(id, polled(options_.polling_interval)), id);
    }
    /// A look at the database.
    bool look() {
        const std::vector<std::string> ids(left_.begin(), left_.end());
        constexpr std::size_t kPage = 2000;
        for (std::size_t at = 0; at < ids.size(); at += kPage) {
            const std::span page(ids.data() + at, std::min(kPage, ids.size() - at));
            for (const auto& [id, status] : run_.executor().database().statuses(page)) {
                if (is_terminal(status)) left_.erase(id);
            }
        }
        return come();
    }
    bool come() const { return first_ ? left_.size() < different_ : left_.empty(); }
    /// Takes note of what has ended; returns an error that a source has told.
    std::exception_ptr hear(const Waiting& waiting, const std::vector<std::size_t>& news) {
        for (const std::size_t source : news) {
            const auto told = waiting.told(source);
            const std::string& id = sources_.at(source);
            if (told.row) left_.erase(id);
            if (told.error && left_.contains(id)) return told.error;
        }
        return nullptr;
    }
    sysdb::StepRecord ended(const sysdb::StepRecord& record) {
        if (!first_) return record_value(run_, record, Value());
        const auto one = std::find_if(ids_.begin(), ids_.end(),
                                      [&](const std::string& id) { return !left_.contains(id); });
        return record_value(run_, record, Value(*one));
    }

    Run& run_;
    const bool first_;
    const std::vector<std::string>& ids_;
    const WaitWorkflowsOptions& options_;
    std::set<std::string> left_;  // not known to have ended
    const std::size_t different_;
    std::map<std::size_t, std::string> sources_;
};

/// What a select waits for: what has no sources of its own tells the run when it is done.
std::size_t select_ready(Run& run, std::span<const std::shared_ptr<detail::PendingState>> pendings) {
    const std::int32_t id = run.reserve();
    if (const auto* record = run.recorded(id, kSelect)) {
        const auto index = deliver(run, *record, kSelect).as_int();
        if (index < 0 || static_cast<std::size_t>(index) >= pendings.size()) {
            run.fail_for_good(std::make_exception_ptr(
                StepNondeterminism(run.id(), id,
                                   "its record names operation " + std::to_string(index) + " of " +
                                       std::to_string(pendings.size()))));
        }
        return static_cast<std::size_t>(index);
    }
    auto waiting = std::make_shared<Waiting>(run.executor());
    std::optional<sysdb::Millis> until;
    // All ends are durable before the first wait, and all is registered before the first look.
    for (const auto& pending : pendings) {
        auto* wait = dynamic_cast<Selectable*>(pending.get());
        if (!wait) continue;
        if (const auto due = wait->make_due()) until = until ? std::min(*until, *due) : *due;
        wait->watch(waiting);
    }
    const auto first_ready = [&](bool look) -> std::optional<std::size_t> {
        static_cast<void>(waiting->take_news());
        for (std::size_t n = 0; n < pendings.size(); ++n) {
            auto* wait = dynamic_cast<Selectable*>(pendings[n].get());
            if (!wait && pendings[n]->ready()) return n;
            if (!wait) continue;
            const auto due = wait->make_due();
            if ((due && *due <= run.executor().durable_now()) || wait->has_come(*waiting)) return n;
            if (look && asking(run, [&] { return wait->look(); })) return n;
        }
        return std::nullopt;
    };
    const auto any_step = [&] {
        return std::any_of(pendings.begin(), pendings.end(), [](const auto& pending) {
            return !dynamic_cast<Selectable*>(pending.get()) && pending->ready();
        });
    };
    auto winner = first_ready(true);
    while (!winner) {
        std::optional<std::size_t> looked;
        static_cast<void>(run.wait({.until = until,
                                    .ready = any_step,
                                    .waiting = waiting,
                                    .check =
                                        [&] {
                                            looked = first_ready(true);
                                            return looked.has_value();
                                        },
                                    .may_park = true}));
        winner = looked ? looked : first_ready(false);
    }
    seam::reach(seam::Situation::select_recorded);
    const auto record =
        record_value(run, new_record(run, id, kSelect), Value(static_cast<std::int64_t>(*winner)));
    return static_cast<std::size_t>(deliver(run, record, kSelect).as_int());
}

void check_topic(const std::string& topic, Duration timeout) {
    if (topic.find('\0') != std::string::npos) throw UsageError("topic: expected text without U+0000");
    if (std::isnan(timeout.count()))
        throw UsageError("timeout: expected a duration, got " + std::to_string(timeout.count()) + " s");
}

}  // namespace

}  // namespace runtime

namespace detail {

std::shared_ptr<PendingState> receive(runtime::Run& run, const char* call,
                                      const std::optional<std::string>& topic, Duration timeout) {
    run.enter(call);
    std::string name = topic && !topic->empty() ? *topic : sysdb::kNullTopic;
    runtime::check_topic(name, timeout);
    run.receive_begins(name);
    return std::make_shared<runtime::Receive>(run, call, std::move(name), std::max(timeout, Duration(0)));
}

std::shared_ptr<PendingState> event_of(runtime::Run& run, const char* call, const std::string& workflow_id,
                                       const std::string& key, Duration timeout,
                                       const GetEventOptions& options) {
    run.enter(call);
    core::check_event(workflow_id, key, timeout, options);
    return std::make_shared<runtime::GetEvent>(run, call, sysdb::EventKey{workflow_id, key},
                                               std::max(timeout, Duration(0)), options);
}

std::shared_ptr<PendingState> begin_sleep(runtime::Run& run, const char* call, Duration duration) {
    run.enter(call);
    if (!(duration.count() >= 0)) {
        throw UsageError(std::string(call) + ": expected 0 or a positive duration, got " +
                             std::to_string(duration.count()) + " s",
                         run.id());
    }
    const runtime::InEngine engine(run);
    return std::make_shared<runtime::Sleep>(run, call, duration);
}

std::shared_ptr<StreamSource> body_stream(runtime::Run& run, const std::string& workflow_id,
                                          const std::string& key, const ReadStreamOptions& options) {
    if (run.in_step()) return run.executor().core().stream(workflow_id, key, options);
    run.enter("ctx.read_stream");
    core::check_stream(workflow_id, key, options);
    return std::make_shared<runtime::BodyStream>(run, sysdb::StreamPosition{workflow_id, key, options.offset},
                                                 options);
}

Value body_stream_value(runtime::Run& run, const std::string& workflow_id, const std::string& key,
                        std::int64_t offset, const ReadStreamOffsetOptions& options) {
    const ReadStreamOptions read{
        .offset = offset, .polling_interval = options.polling_interval, .timeout = options.timeout};
    core::check_stream(workflow_id, key, read);
    // Past the end of the stream there is no value in any time, as in Python.
    const auto past_the_end = [&](const Value& value) {
        if (value.kind() == Kind::string && value.as_string() == sysdb::kStreamEnd)
            throw StreamTimeout(workflow_id, key, options.timeout.value_or(Duration(0)).count());
    };
    if (run.in_step()) {
        auto value = run.executor().core().stream(workflow_id, key, read)->next();
        if (!value) past_the_end(Value(std::string(sysdb::kStreamEnd)));
        return std::move(*value);
    }
    Value value = runtime::run_operation(
        run, "ctx.read_stream_offset", runtime::kReadStreamOffset, [&](const sysdb::StepRecord& record) {
            return runtime::BodyStream::read_at(run, {workflow_id, key, offset}, read, record);
        });
    past_the_end(value);
    return value;
}

std::size_t wait_first_of(runtime::Run& run, const std::vector<std::string>& ids,
                          const WaitWorkflowsOptions& options) {
    run.enter("ctx.wait_first");
    core::check_wait(options);
    if (ids.empty()) throw UsageError("wait_first: expected at least one handle, got none", run.id());
    const std::string first = runtime::Ends(run, true, ids, options).wait().as_string();
    const auto found = std::ranges::find(ids, first);
    if (found == ids.end())
        throw StepNondeterminism(run.id(), 0, "wait_first: the record names workflow " + first);
    return static_cast<std::size_t>(found - ids.begin());
}

void wait_for_all(runtime::Run& run, const std::vector<std::string>& ids,
                  const WaitWorkflowsOptions& options) {
    run.enter("ctx.wait_all");
    core::check_wait(options);
    static_cast<void>(runtime::Ends(run, false, ids, options).wait());
}

std::size_t select(runtime::Run& run, const std::shared_ptr<PendingState>* first, std::size_t size) {
    const std::span pendings(first, size);
    run.enter("ctx.select");
    const runtime::InEngine engine(run);
    if (pendings.empty()) throw UsageError("select: expected at least one Pending, got none", run.id());
    std::set<const PendingState*> seen;
    for (const auto& pending : pendings) {
        if (!pending)
            throw UsageError("select: expected Pendings with a value to come, got one that was moved from",
                             run.id());
        if (pending->taken())
            throw UsageError("select: expected Pendings with a value to come, got one whose get() was called",
                             run.id());
        if (!seen.insert(pending.get()).second)
            throw UsageError("select: expected each Pending once, got one twice", run.id());
    }
    return runtime::select_ready(run, pendings);
}

}  // namespace detail

}  // namespace dbos
