// What a Client holds; for the files that implement it.
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include "client/core.hpp"
#include "dbos/client.hpp"

namespace dbos {

struct Client::Impl {
    std::shared_ptr<client::Core> core;
    bool borrowed = false;  // the core is that of an App
};

namespace client {

/// Runs `work(core)`, which returns what `done` delivers, on one of the core's worker threads.
template <class T, class F>
void deliver_in_background(const std::shared_ptr<Core>& core,
                           detail::OnceFunction<void(detail::OnceFunction<T()> take, bool failed)> done,
                           F work) {
    const auto shared =
        std::make_shared<detail::OnceFunction<void(detail::OnceFunction<T()> take, bool failed)>>(
            std::move(done));
    core->in_background<void>([core, shared, work = std::move(work)]() mutable {
        std::optional<T> result;
        std::exception_ptr error;
        try {
            result.emplace(work(*core));
        } catch (...) {
            error = std::current_exception();
        }
        // Behind the handler, which holds the error: whoever takes it shall be the last.
        if (error) {
            (*shared)([error = std::move(error)]() -> T { std::rethrow_exception(error); }, true);
        } else {
            (*shared)([result = std::move(*result)]() mutable -> T { return std::move(result); }, false);
        }
    });
}

}  // namespace client

}  // namespace dbos
