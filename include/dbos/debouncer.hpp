// dbos::Debouncer: of many calls close together, one workflow with the last arguments.
//
//   dbos::Debouncer debouncer(client, ProcessInput, {.queue = "inputs"});
//   auto handle = debouncer.debounce(user_id, 60s, input);   // 60 s after the last call, with its input
//
// In a workflow's body: dbos::Debouncer debouncer(ctx, ProcessInput, …).
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "dbos/client.hpp"
#include "dbos/detail/context_base.hpp"

namespace dbos {

class Context;

namespace detail {

/// What a Debouncer without a contract takes and returns.
struct ByName {};

/// The untyped part.
class DBOS_EXPORT DebouncerBase {
   protected:
    /// Throws UsageError for options that a debounced workflow cannot have.
    DebouncerBase(Client& client, const CallTarget& target, DebouncerOptions options);
    DebouncerBase(ContextBase& context, const CallTarget& target, DebouncerOptions options);
    std::shared_ptr<HandleState> call(const std::string& key, Duration period, Arguments&& arguments);
    void call_async(const std::string& key, Duration period, Arguments&& arguments, HandleDone done);
    const std::shared_ptr<CallbackQueue>& callbacks() const noexcept;

   private:
    std::shared_ptr<client::Core> core_;
    CallTarget target_;
    DebouncerOptions options_;
    /// Set in a body: what call() does there.
    std::function<std::shared_ptr<HandleState>(const DebouncerBase& of, const std::string& key,
                                               Duration period, Arguments&& arguments)>
        in_body_ = {};
};

/// A Client, or what has one (an App).
template <class Owner>
concept has_client = requires(Owner& owner) {
    { owner.client() } -> std::same_as<Client&>;
};

}  // namespace detail

/// Puts off the start of a workflow until calls of one key have ceased for a while; it then runs once, with the arguments of the
/// last call. A call after its start begins a new burst, with another workflow.
///
/// Works with every runtime that starts DELAYED workflows (DBOS SDKs from about March 2026). Thread-safe; usable for as long as
/// its client. Errors: those of enqueue; QueueDeduplicated if a workflow that is not debounced holds the key; OutcomeUnknown
/// if the connection was lost while a workflow was put off.
///
/// One that is made with a Context belongs to that run. Each call is one recorded operation, `DBOS.debounce_delayed_workflow` (py),
/// in one transaction with what it does: a replay neither puts off nor starts anything. A workflow that it starts is a child, with
/// an id made of the number as of ctx.start_workflow, but without the deadline of its parent. debounce_async throws UsageError.
template <class Signature = detail::ByName>
class Debouncer;

/// By name: `options.workflow_name` says which.
template <>
class Debouncer<detail::ByName> : detail::DebouncerBase {
   public:
    Debouncer(Client& client, EnqueueOptions workflow_options, DebouncerOptions options = {})
        : DebouncerBase(client, {}, with(std::move(options), std::move(workflow_options))) {}
    template <detail::has_client Owner>
    Debouncer(Owner& owner, EnqueueOptions workflow_options, DebouncerOptions options = {})
        : Debouncer(owner.client(), std::move(workflow_options), std::move(options)) {}
    template <std::derived_from<detail::ContextBase> Body>
    Debouncer(Body& context, EnqueueOptions workflow_options, DebouncerOptions options = {})
        : DebouncerBase(context, {}, with(std::move(options), std::move(workflow_options))) {}

    /// The workflow that will run, or has just been put off. `period` from now, 0 = as soon as it is looked at.
    template <class R = Value, class... U>
    WorkflowHandle<R> debounce(const std::string& debounce_key, Duration debounce_period, U&&... args) {
        return detail::HandleAccess::make<R>(call(debounce_key, debounce_period, to_arguments(args...)));
    }
    template <class R = Value, class... U>
    Future<WorkflowHandle<R>> debounce_async(const std::string& debounce_key, Duration debounce_period,
                                             U&&... args) {
        auto [future, done] = detail::handle_future<R>(callbacks());
        call_async(debounce_key, debounce_period, to_arguments(args...), std::move(done));
        return std::move(future);
    }

   private:
    static DebouncerOptions with(DebouncerOptions&& options, EnqueueOptions&& workflow_options) {
        options.workflow_options = std::move(workflow_options);
        return std::move(options);
    }
};

/// By contract, which must outlive it (contracts are constants).
template <class R, class... A>
class Debouncer<R(A...)> : detail::DebouncerBase {
   public:
    template <class... E>
    Debouncer(Client& client, const Workflow<R(A...), E...>& contract, DebouncerOptions options = {})
        : Debouncer(client, contract, std::move(options), 0) {}
    template <std::derived_from<detail::ContextBase> Body, class... E>
    Debouncer(Body& context, const Workflow<R(A...), E...>& contract, DebouncerOptions options = {})
        : Debouncer(static_cast<detail::ContextBase&>(context), contract, std::move(options), 0) {}
    template <detail::has_client Owner, class... E>
    Debouncer(Owner& owner, const Workflow<R(A...), E...>& contract, DebouncerOptions options = {})
        : Debouncer(owner.client(), contract, std::move(options)) {}

    WorkflowHandle<R> debounce(const std::string& debounce_key, Duration debounce_period,
                               detail::argument_t<A>... args) {
        return detail::HandleAccess::make<R>(call(debounce_key, debounce_period, encode_(contract_, args...)),
                                             errors_);
    }
    Future<WorkflowHandle<R>> debounce_async(const std::string& debounce_key, Duration debounce_period,
                                             detail::argument_t<A>... args) {
        auto [future, done] = detail::handle_future<R>(callbacks(), errors_);
        call_async(debounce_key, debounce_period, encode_(contract_, args...), std::move(done));
        return std::move(future);
    }

   private:
    template <class Place, class... E>
    Debouncer(Place& place, const Workflow<R(A...), E...>& contract, DebouncerOptions&& options, int)
        : DebouncerBase(place, detail::call_target(contract), std::move(options)),
          errors_(contract.error_types()),
          encode_([](const void* of, detail::argument_t<A>&... args) {
              return detail::encode_arguments(*static_cast<const Workflow<R(A...), E...>*>(of), args...);
          }),
          contract_(&contract) {}

    std::span<const ErrorType> errors_;
    Arguments (*encode_)(const void* contract, detail::argument_t<A>&... args);
    const void* contract_;
};

template <class R, class... A, class... E>
Debouncer(Client&, const Workflow<R(A...), E...>&, DebouncerOptions = {}) -> Debouncer<R(A...)>;
template <detail::has_client Owner, class R, class... A, class... E>
Debouncer(Owner&, const Workflow<R(A...), E...>&, DebouncerOptions = {}) -> Debouncer<R(A...)>;
template <std::derived_from<detail::ContextBase> Body, class R, class... A, class... E>
Debouncer(Body&, const Workflow<R(A...), E...>&, DebouncerOptions = {}) -> Debouncer<R(A...)>;
Debouncer(Client&, EnqueueOptions, DebouncerOptions = {}) -> Debouncer<detail::ByName>;
template <std::derived_from<detail::ContextBase> Body>
Debouncer(Body&, EnqueueOptions, DebouncerOptions = {}) -> Debouncer<detail::ByName>;

/// The name of the Python SDK, for a debouncer by name.
using DebouncerClient = Debouncer<detail::ByName>;

}  // namespace dbos
