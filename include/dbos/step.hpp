// What a step is to the body that calls it: a callable that takes nothing or a StepContext&, and whose result is recorded.
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "dbos/codec.hpp"
#include "dbos/export.hpp"

namespace dbos {

/// For whom a workflow runs.
struct DBOS_EXPORT Authentication {
    /// Empty = nobody.
    std::string user = {};
    std::vector<std::string> roles = {};
    /// The first of the workflow's required roles that `roles` hold; empty if it requires none.
    std::string assumed_role = {};
};

/// What a step's callable may ask about the attempt it runs in. Valid during the call only; usable from threads that the
/// callable starts.
class DBOS_EXPORT StepContext {
   public:
    const std::string& workflow_id() const noexcept { return *workflow_id_; }
    /// Number of the step within the workflow, from 1.
    int step_id() const noexcept { return step_id_; }
    /// From 1.
    int attempt() const noexcept { return attempt_; }
    int max_attempts() const noexcept { return max_attempts_; }
    /// Asked to stop when the step's timeout has passed, the workflow is cancelled or taken over, its Pending is destroyed, or
    /// the application shuts down. Cooperative: the runtime waits for the callable in every case.
    std::stop_token stop_token() const noexcept { return stop_; }
    /// As those of the Context when the step was called.
    const std::string& authenticated_user() const noexcept { return authentication_->user; }
    const std::vector<std::string>& authenticated_roles() const noexcept { return authentication_->roles; }
    const std::string& assumed_role() const noexcept { return authentication_->assumed_role; }

    /// For the runtime and for tests of step functions.
    StepContext(const std::string& workflow_id, int step_id, int attempt, int max_attempts,
                std::stop_token stop, std::shared_ptr<const Authentication> authentication = {});

   private:
    const std::string* workflow_id_;
    int step_id_;
    int attempt_;
    int max_attempts_;
    std::stop_token stop_;
    std::shared_ptr<const Authentication> authentication_;  // never null
};

namespace detail {

template <class F>
concept plain_step = std::invocable<F&>;
template <class F>
concept context_step = std::invocable<F&, StepContext&>;

template <class F>
struct StepReturn {
    using type = void;
};
template <plain_step F>
struct StepReturn<F> {
    using type = std::invoke_result_t<F&>;
};
template <class F>
    requires(!plain_step<F> && context_step<F>)
struct StepReturn<F> {
    using type = std::invoke_result_t<F&, StepContext&>;
};
/// What a step returns to the body: decayed, texts as std::string.
template <class F>
struct StepResult {
    using raw = typename StepReturn<F>::type;
    using type = std::conditional_t<std::is_void_v<raw>, void,
                                    stored_t<std::conditional_t<std::is_void_v<raw>, int, raw>>>;
};
template <class F>
using step_result_t = typename StepResult<std::remove_cvref_t<F>>::type;

template <class F>
constexpr bool require_step() {
    using Fn = std::remove_cvref_t<F>;
    static_assert(plain_step<Fn> || context_step<Fn>,
                  "dbos: a step's callable is called with no argument or with a dbos::StepContext&");
    if constexpr (plain_step<Fn> || context_step<Fn>) return require_result<typename StepReturn<Fn>::type>();
    return false;
}

template <class F>
Value call_step(F& function, StepContext& context) {
    using R = typename StepReturn<F>::type;
    if constexpr (plain_step<F>) {
        if constexpr (std::is_void_v<R>) {
            function();
            return {};
        } else {
            return to_value(function());
        }
    } else {
        if constexpr (std::is_void_v<R>) {
            function(context);
            return {};
        } else {
            return to_value(function(context));
        }
    }
}

/// A borrowed callable of a step, type erased.
struct StepCall {
    void* object;
    Value (*invoke)(void*, StepContext&);
};

/// An owned one.
class StepFunction {
   public:
    virtual ~StepFunction() = default;
    virtual Value operator()(StepContext& context) = 0;
};
template <class F>
class StepFunctionOf final : public StepFunction {
   public:
    explicit StepFunctionOf(F&& function) : function_(std::move(function)) {}
    explicit StepFunctionOf(const F& function) : function_(function) {}
    Value operator()(StepContext& context) override { return call_step(function_, context); }

   private:
    F function_;
};

}  // namespace detail

}  // namespace dbos
