// What a body writes to databases of the program, exactly once.
#pragma once

#include <memory>
#include <type_traits>

#include "dbos/codec.hpp"
#include "dbos/context_manage.hpp"
#include "dbos/datasource.hpp"
#include "dbos/export.hpp"
#include "dbos/workflow.hpp"

namespace dbos {

namespace detail {

DBOS_EXPORT Value run_transaction(runtime::Run& run, const std::shared_ptr<runtime::Datasource>& datasource,
                                  const Name& name, const TransactionCall& call,
                                  const TransactionOptions& options);

}  // namespace detail

/// The part of Context for transactional steps (datasource.hpp).
class DBOS_EXPORT ContextTransactions : public ContextManaging {
   public:
    /// A step whose writes to `datasource` and whose record are one transaction: both are there, once, or neither. `function`
    /// gets the connection that the datasource lends, in that transaction; its result must be serializable and own its data.
    ///
    /// The callable is run again as a whole when its transaction lost against another one (SQLSTATE 40001, 40P01; it threw
    /// a DatabaseError of the kind `serialization` or `busy`), when the connection was lost, and after a crash before the commit: what it does besides (a call to a service, a counter) may
    /// happen again. It makes no durable call, and uses no client or App, but for the `_in_transaction` calls of a client with
    /// the lent connection: such calls throw UsageError.
    ///
    /// An error of the callable rolls back, is recorded, and is thrown as its record decodes (as for step()). InvalidTransaction
    /// is recorded if the callable has ended the transaction, or hides that a statement of it failed.
    template <class D, class F>
    auto transaction(const D& datasource, const Name& name, F&& function,
                     const TransactionOptions& options = {}) -> detail::transaction_result_t<D, F> {
        using Returned = detail::transaction_return_t<D, F>;
        using R = detail::transaction_result_t<D, F>;
        using Fn = std::remove_reference_t<F>;
        if constexpr (detail::require_callable<D, F>()) {
            if constexpr (detail::require_result<Returned>()) {
                struct Frame {
                    const D& datasource;
                    Fn& function;
                } frame{datasource, function};
                const detail::TransactionCall call{
                    &frame, [](void* object, const detail::LentConnection& connection) {
                        Value result;
                        Frame& to = *static_cast<Frame*>(object);
                        to.datasource.lend(connection, [&](auto&& argument) {
                            if constexpr (std::is_void_v<Returned>) {
                                to.function(argument);
                            } else {
                                result = to_value(to.function(argument));
                            }
                        });
                        return result;
                    }};
                if constexpr (std::is_void_v<R>) {
                    detail::run_transaction(run_, datasource.state(), name, call, options);
                } else {
                    return from_value<R>(
                        detail::run_transaction(run_, datasource.state(), name, call, options));
                }
            }
        }
    }

   protected:
    using ContextManaging::ContextManaging;
};

}  // namespace dbos
