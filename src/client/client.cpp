#include "dbos/client.hpp"

#include "client/client_impl.hpp"
#include "core/durations.hpp"
#include "core/log.hpp"
#include "core/options.hpp"
#include "dbos/debouncer.hpp"
#include "dbos/error.hpp"
#include "sql/source.hpp"
#include "sysdb/database.hpp"

namespace dbos {

detail::HandleState::~HandleState() = default;

namespace {

std::shared_ptr<client::Core> make_core(ClientOptions&& options) {
    core::check_client(options);
    sysdb::DatabaseOptions database;
    database.open.source = options.system_database_engine;
    database.open.url = database.open.source ? sql::url_of(*database.open.source)
                                             : sql::Url::parse(options.system_database_url);
    database.open.schema = options.dbos_system_schema;
    database.open.application_name =
        "dbos_transact_client";  // what the SDKs' clients call themselves (py: dbos/_client.py)
    database.open.create_file = false;
    database.open.idle_transaction_timeout = core::to_nanos(options.system_database_idle_transaction_timeout);
    database.pool_size = static_cast<std::size_t>(options.system_database_pool_size);
    database.retry_connection_errors = options.retry_connection_errors;
    LogSink log = options.log_sink ? std::move(options.log_sink) : stderr_log_sink();
    database.log = log;
    const bool postgres = database.open.url.backend == sql::Backend::postgres;
    std::string key = database.open.url.printable + (postgres ? '#' + options.dbos_system_schema : "");
    const bool must_listen = options.use_listen_notify.value_or(false) && postgres;

    auto system_database = std::make_shared<sysdb::SystemDatabase>(std::move(database));
    // Whether the tables are there is not asked: that is for the first call to find.
    if (!options.lazy) system_database->core().measure_clock(*system_database->pool().acquire());
    if (must_listen) system_database->core().open_dedicated(false)->script("LISTEN dbos_cpp_wake");
    return std::make_shared<client::Core>(
        std::move(system_database),
        client::CoreOptions{.database_key = std::move(key),
                            .application_name = std::move(options.application_name),
                            .serializer = std::move(options.serializer),
                            .log = std::move(log),
                            .executor = std::move(options.executor),
                            .wakeups = options.use_listen_notify.value_or(true),
                            .retry_connection_errors = options.retry_connection_errors,
                            .query_timeout = options.observability_query_timeout});
}

}  // namespace

Client::Client(ClientOptions options) : impl_(new Impl) { impl_->core = make_core(std::move(options)); }

Client::Client(Impl* impl) : impl_(impl) {}

Client::~Client() {
    // In a forked child the threads are not there, and locks may be held by them for ever: forget everything.
    if (impl_->core->forked()) {
        impl_.release();
        return;
    }
    destroy();
}

void Client::destroy() noexcept {
    if (!impl_->borrowed) impl_->core->close();
}

void Client::check_connection() {
    impl_->core->check_thread("check_connection", false, true);
    impl_->core->check_connection();
}

Future<void> Client::check_connection_async() {
    return impl_->core->in_background<void>([core = impl_->core] { core->check_connection(); });
}

std::shared_ptr<detail::HandleState> Client::start(const detail::CallTarget& target, EnqueueOptions&& options,
                                                   Arguments&& arguments) {
    impl_->core->check_thread("enqueue", true, true);
    return impl_->core->enqueue(target, std::move(options), std::move(arguments));
}

void Client::start_async(const detail::CallTarget& target, EnqueueOptions&& options, Arguments&& arguments,
                         detail::HandleDone done) {
    impl_->core->check_thread("enqueue_async", true, false);
    impl_->core->enqueue_async(target, std::move(options), std::move(arguments), std::move(done));
}

namespace {

constexpr std::size_t kMostRequests = 5000;

void check_number(std::size_t requests) {
    if (requests > kMostRequests) {
        throw UsageError("enqueue_bulk: expected at most " + std::to_string(kMostRequests) +
                         " workflows, got " + std::to_string(requests) + "; call it several times");
    }
}

}  // namespace

std::vector<std::shared_ptr<detail::HandleState>> Client::bulk(std::vector<EnqueueRequest>&& requests) {
    impl_->core->check_thread("enqueue_bulk", true, true);
    return impl_->core->enqueue_bulk(prepared(std::move(requests)));
}

void Client::bulk_async(std::vector<EnqueueRequest>&& requests,
                        detail::OnceFunction<void(detail::OnceFunction<States()> take, bool failed)> done) {
    impl_->core->check_thread("enqueue_bulk_async", true, false);
    impl_->core->check_process("enqueue_bulk_async");
    auto starts = std::make_shared<std::vector<client::PreparedStart>>(prepared(std::move(requests)));
    client::deliver_in_background<States>(
        impl_->core, std::move(done), [starts](client::Core& core) { return core.enqueue_bulk(*starts); });
}

std::vector<client::PreparedStart> Client::prepared(std::vector<EnqueueRequest>&& requests) {
    check_number(requests.size());
    std::vector<client::PreparedStart> starts;
    std::vector<BulkRefused::Refusal> refusals;
    starts.reserve(requests.size());
    for (std::size_t n = 0; n < requests.size(); ++n) {
        EnqueueRequest& request = requests[n];
        try {
            starts.push_back(impl_->core->prepare(request.target_, std::move(request.options_),
                                                  std::move(request.arguments_), core::StartKind::enqueue));
        } catch (const Error&) {
            refusals.push_back({n, std::current_exception()});
        }
    }
    if (!refusals.empty()) throw BulkRefused(std::move(refusals));
    return starts;
}

std::shared_ptr<detail::HandleState> Client::start_in(const CallerTransaction& transaction,
                                                      const detail::CallTarget& target,
                                                      EnqueueOptions&& options, Arguments&& arguments) {
    impl_->core->check_thread("enqueue_in_transaction", true, true);
    return impl_->core->enqueue_in(transaction, target, std::move(options), std::move(arguments));
}

void Client::wake(const std::string& queue_name) {
    impl_->core->check_thread("wake", true, true);
    impl_->core->wake(queue_name);
}

Future<void> Client::wake_async(std::string queue_name) {
    impl_->core->check_thread("wake_async", true, false);
    return impl_->core->in_background<void>(
        [core = impl_->core, queue = std::move(queue_name)] { core->wake(queue); });
}

std::shared_ptr<detail::HandleState> Client::retrieve(const detail::CallTarget& target,
                                                      const std::string& workflow_id) {
    impl_->core->check_thread("retrieve_workflow", false, true);
    return impl_->core->retrieve(target, workflow_id);
}

void Client::retrieve_async(const detail::CallTarget& target, const std::string& workflow_id,
                            detail::HandleDone done) {
    core::check_workflow_id(workflow_id);
    client::deliver_in_background<std::shared_ptr<detail::HandleState>>(
        impl_->core, std::move(done),
        [target, workflow_id](client::Core& core) { return core.retrieve(target, workflow_id); });
}

std::vector<WorkflowStatus> Client::list_workflows(const ListWorkflowsOptions& options) {
    impl_->core->check_thread("list_workflows", false, true);
    return impl_->core->list(options);
}

Future<std::vector<WorkflowStatus>> Client::list_workflows_async(ListWorkflowsOptions options) {
    core::check_list(options);
    return impl_->core->in_background<std::vector<WorkflowStatus>>(
        [core = impl_->core, options = std::move(options)] { return core->list(options); });
}

std::vector<WorkflowStatus> Client::list_queued_workflows(const ListQueuedWorkflowsOptions& options) {
    impl_->core->check_thread("list_queued_workflows", false, true);
    return impl_->core->list(core::queued(options));
}

Future<std::vector<WorkflowStatus>> Client::list_queued_workflows_async(ListQueuedWorkflowsOptions options) {
    return list_workflows_async(core::queued(options));
}

std::vector<StepInfo> Client::list_workflow_steps(const std::string& workflow_id,
                                                  const ListStepsOptions& options) {
    impl_->core->check_thread("list_workflow_steps", false, true);
    return impl_->core->steps(workflow_id, options);
}

Future<std::vector<StepInfo>> Client::list_workflow_steps_async(std::string workflow_id,
                                                                ListStepsOptions options) {
    core::check_steps(options);
    return impl_->core->in_background<std::vector<StepInfo>>(
        [core = impl_->core, id = std::move(workflow_id), options] { return core->steps(id, options); });
}

namespace {

Message single(const std::string& destination_id, const Any& message, const std::optional<std::string>& topic,
               const SendOptions& options) {
    return {.destination_id = destination_id,
            .message = message,
            .topic = topic.value_or(""),
            .idempotency_key = options.idempotency_key};
}

}  // namespace

void Client::send(const std::string& destination_id, const Any& message,
                  const std::optional<std::string>& topic, const SendOptions& options) {
    impl_->core->check_thread("send", true, true);
    const Message one[] = {single(destination_id, message, topic, options)};
    impl_->core->send(impl_->core->prepare_messages(one, options.serializer.get()), options.send_to_forks);
}

Future<void> Client::send_async(const std::string& destination_id, const Any& message,
                                const std::optional<std::string>& topic, const SendOptions& options) {
    impl_->core->check_thread("send_async", true, false);
    const Message one[] = {single(destination_id, message, topic, options)};
    return impl_->core->in_background<void>(
        [core = impl_->core, rows = impl_->core->prepare_messages(one, options.serializer.get()),
         to_forks = options.send_to_forks] { core->send(rows, to_forks); });
}

void Client::send_bulk(const std::vector<Message>& messages, const SendBulkOptions& options) {
    impl_->core->check_thread("send_bulk", true, true);
    impl_->core->send(impl_->core->prepare_messages(messages, options.serializer.get()),
                      options.send_to_forks);
}

Future<void> Client::send_bulk_async(const std::vector<Message>& messages, const SendBulkOptions& options) {
    impl_->core->check_thread("send_bulk_async", true, false);
    return impl_->core->in_background<void>(
        [core = impl_->core, rows = impl_->core->prepare_messages(messages, options.serializer.get()),
         to_forks = options.send_to_forks] { core->send(rows, to_forks); });
}

void Client::send_in_transaction(const CallerTransaction& transaction, const std::string& destination_id,
                                 const Any& message, const std::optional<std::string>& topic,
                                 const SendOptions& options) {
    impl_->core->check_thread("send_in_transaction", true, true);
    const Message one[] = {single(destination_id, message, topic, options)};
    impl_->core->send_in(transaction, impl_->core->prepare_messages(one, options.serializer.get()),
                         options.send_to_forks);
}

void Client::send_bulk_in_transaction(const CallerTransaction& transaction,
                                      const std::vector<Message>& messages, const SendBulkOptions& options) {
    impl_->core->check_thread("send_bulk_in_transaction", true, true);
    impl_->core->send_in(transaction, impl_->core->prepare_messages(messages, options.serializer.get()),
                         options.send_to_forks);
}

std::optional<Value> Client::event(const std::string& workflow_id, const std::string& key, Duration timeout,
                                   const GetEventOptions& options) {
    impl_->core->check_thread("get_event", true, true);
    return impl_->core->event(workflow_id, key, timeout, options);
}

void Client::event_async(
    const std::string& workflow_id, const std::string& key, Duration timeout, const GetEventOptions& options,
    const std::shared_ptr<detail::FutureCore>& future,
    detail::OnceFunction<void(detail::OnceFunction<std::optional<Value>()> take, bool failed)> done) {
    impl_->core->check_thread("get_event_async", true, false);
    impl_->core->event_async(workflow_id, key, timeout, options, future, std::move(done));
}

std::map<std::string, Value> Client::get_all_events(const std::string& workflow_id) {
    impl_->core->check_thread("get_all_events", false, true);
    return impl_->core->events(workflow_id);
}

Future<std::map<std::string, Value>> Client::get_all_events_async(std::string workflow_id) {
    core::check_workflow_id(workflow_id);
    return impl_->core->in_background<std::map<std::string, Value>>(
        [core = impl_->core, id = std::move(workflow_id)] { return core->events(id); });
}

std::shared_ptr<detail::StreamSource> Client::stream(const std::string& workflow_id, const std::string& key,
                                                     const ReadStreamOptions& options) {
    return impl_->core->stream(workflow_id, key, options);
}

namespace {

ReadStreamOptions at_offset(std::int64_t offset, const ReadStreamOffsetOptions& options) {
    return {.offset = offset, .polling_interval = options.polling_interval, .timeout = options.timeout};
}

Value value_or_timeout(std::optional<Value> value, const std::string& workflow_id, const std::string& key,
                       const ReadStreamOffsetOptions& options) {
    if (!value) throw StreamTimeout(workflow_id, key, options.timeout ? options.timeout->count() : 0);
    return std::move(*value);
}

}  // namespace

Value Client::stream_value(const std::string& workflow_id, const std::string& key, std::int64_t offset,
                           const ReadStreamOffsetOptions& options) {
    const auto source = stream(workflow_id, key, at_offset(offset, options));
    return value_or_timeout(source->next(), workflow_id, key, options);
}

void Client::stream_value_async(
    const std::string& workflow_id, const std::string& key, std::int64_t offset,
    const ReadStreamOffsetOptions& options, const std::shared_ptr<detail::FutureCore>& future,
    detail::OnceFunction<void(detail::OnceFunction<Value()> take, bool failed)> done) {
    stream(workflow_id, key, at_offset(offset, options))
        ->next_async(future, [=, done = std::move(done)](detail::OnceFunction<std::optional<Value>()> take,
                                                         bool failed) mutable {
            done([=, take = std::move(
                         take)]() mutable { return value_or_timeout(take(), workflow_id, key, options); },
                 failed);
        });
}

std::vector<VersionInfo> Client::list_versions() { return list_application_versions(); }
Future<std::vector<VersionInfo>> Client::list_versions_async() { return list_application_versions_async(); }
VersionInfo Client::get_latest_version() { return get_latest_application_version(); }
Future<VersionInfo> Client::get_latest_version_async() { return get_latest_application_version_async(); }
void Client::set_latest_version(const std::string& version_name, const std::string& application_name) {
    set_latest_application_version(version_name, application_name);
}
Future<void> Client::set_latest_version_async(std::string version_name, std::string application_name) {
    return set_latest_application_version_async(std::move(version_name), std::move(application_name));
}

std::size_t Client::wait_first_of(const std::vector<std::string>& ids, const WaitWorkflowsOptions& options) {
    impl_->core->check_thread("wait_first", true, true);
    return impl_->core->wait_first(ids, options);
}

void Client::wait_for_all(const std::vector<std::string>& ids, const WaitWorkflowsOptions& options) {
    impl_->core->check_thread("wait_all", true, true);
    impl_->core->wait_all(ids, options);
}

void Client::wait_many_async(
    const std::vector<std::string>& ids, bool first, const WaitWorkflowsOptions& options,
    const std::shared_ptr<detail::FutureCore>& future,
    detail::OnceFunction<void(detail::OnceFunction<std::size_t()> take, bool failed)> done) {
    impl_->core->check_thread(first ? "wait_first_async" : "wait_all_async", true, false);
    impl_->core->wait_many_async(ids, first, options, future, std::move(done));
}

const std::shared_ptr<detail::CallbackQueue>& Client::callbacks() const noexcept {
    return impl_->core->callbacks();
}

detail::DebouncerBase::DebouncerBase(Client& client, const CallTarget& target, DebouncerOptions options)
    : core_(client.impl_->core), target_(target), options_(std::move(options)) {
    // What every call would be refused for is refused at once.
    core_->prepare_debounce(target_, options_, "key", Duration(0), {});
}

std::shared_ptr<detail::HandleState> detail::DebouncerBase::call(const std::string& key, Duration period,
                                                                 Arguments&& arguments) {
    if (in_body_) return in_body_(*this, key, period, std::move(arguments));
    core_->check_thread("debounce", true, true);
    return core_->debounce(core_->prepare_debounce(target_, options_, key, period, std::move(arguments)));
}

void detail::DebouncerBase::call_async(const std::string& key, Duration period, Arguments&& arguments,
                                       HandleDone done) {
    if (in_body_) {
        throw UsageError(
            "debounce_async was called on a Debouncer that was made with a Context: a body calls debounce(), "
            "which is recorded");
    }
    core_->check_thread("debounce_async", true, false);
    core_->check_open();
    core_->debounce_async(std::make_shared<const sysdb::DebounceCall>(
                              core_->prepare_debounce(target_, options_, key, period, std::move(arguments))),
                          std::move(done));
}

const std::shared_ptr<detail::CallbackQueue>& detail::DebouncerBase::callbacks() const noexcept {
    return core_->callbacks();
}

struct detail::ClientAccess {
    static std::unique_ptr<Client> make(std::shared_ptr<client::Core> core) {
        auto impl = std::make_unique<Client::Impl>();
        impl->core = std::move(core);
        impl->borrowed = true;
        return std::unique_ptr<Client>(new Client(impl.release()));
    }
};

std::unique_ptr<Client> client::make_client(std::shared_ptr<Core> core) {
    return detail::ClientAccess::make(std::move(core));
}

}  // namespace dbos
