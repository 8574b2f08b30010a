// Stream<T> and AsyncStream<T>: the values of a stream, as they are written.
#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "dbos/codec.hpp"
#include "dbos/export.hpp"
#include "dbos/future.hpp"
#include "dbos/value.hpp"

namespace dbos {

namespace detail {

/// What a stream reads from. One reader at a time. Keeps no thread and no connection.
class DBOS_EXPORT StreamSource {
   public:
    virtual ~StreamSource();
    /// Blocks for the next value; nullopt = the stream is over. Throws NonexistentWorkflow, StreamTimeout, DecodeError,
    /// ClientClosed, DatabaseError.
    virtual std::optional<Value> next() = 0;
    using NextDone = OnceFunction<void(OnceFunction<std::optional<Value>()> take, bool failed)>;
    /// The same without a thread; `done` is called once, on any thread, and must only hand over. `future` is the consumer: its
    /// on_abandon withdraws the wait. Throws UsageError while another value is being waited for.
    virtual void next_async(const std::shared_ptr<FutureCore>& future, NextDone done) = 0;
    virtual const std::shared_ptr<CallbackQueue>& callbacks() const noexcept = 0;
};

}  // namespace detail

/// The values of a stream: a range to be gone through once, with `for` or `std::views::take`. Move-only; one thread at a
/// time. After StreamTimeout next() can be called again; a value that cannot be decoded is passed over.
template <class T = Value>
class Stream {
    struct Shared {
        std::shared_ptr<detail::StreamSource> source;
        std::optional<T> current = {};
        void advance() { current = take(*source); }
    };

   public:
    class iterator {  // NOLINT(readability-identifier-naming): a word of the standard library
       public:
        using value_type = T;
        using difference_type = std::ptrdiff_t;
        using iterator_concept = std::input_iterator_tag;

        iterator() = default;
        T& operator*() const noexcept { return *shared_->current; }
        iterator& operator++() {
            shared_->advance();
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator& at, std::default_sentinel_t) noexcept {
            return !at.shared_->current.has_value();
        }

       private:
        friend class Stream;
        explicit iterator(Shared* shared) noexcept : shared_(shared) {}
        Shared* shared_ = nullptr;
    };

    explicit Stream(std::shared_ptr<detail::StreamSource> source)
        : shared_(std::make_unique<Shared>(Shared{std::move(source)})) {}

    /// Blocks for the next value; nullopt = the stream was closed, or its workflow has ended.
    std::optional<T> next() { return take(*shared_->source); }
    /// Reads the first value. To be called once.
    iterator begin() {
        shared_->advance();
        return iterator(shared_.get());
    }
    std::default_sentinel_t end() const noexcept { return {}; }

   private:
    static std::optional<T> take(detail::StreamSource& source) {
        std::optional<Value> value = source.next();
        if (!value) return std::nullopt;
        return from_value<T>(*value);
    }
    std::unique_ptr<Shared> shared_;
};

/// The same for Futures: `next()` again and again until it gives nullopt. Move-only; one value at a time.
template <class T = Value>
class AsyncStream {
   public:
    explicit AsyncStream(std::shared_ptr<detail::StreamSource> source) : source_(std::move(source)) {}
    AsyncStream(AsyncStream&&) noexcept = default;
    AsyncStream& operator=(AsyncStream&&) noexcept = default;

    /// The next value; nullopt = the stream is over. Throws UsageError while the value before is being waited for.
    Future<std::optional<T>> next() {
        auto state = std::make_shared<detail::FutureState<std::optional<T>>>(source_->callbacks());
        source_->next_async(state, [state](detail::OnceFunction<std::optional<Value>()> take, bool failed) {
            state->complete(
                [take = std::move(take)]() mutable -> std::optional<T> {
                    std::optional<Value> value = take();
                    if (!value) return std::nullopt;
                    return from_value<T>(*value);
                },
                failed);
        });
        return detail::FutureAccess::make(std::move(state));
    }

   private:
    std::shared_ptr<detail::StreamSource> source_;
};

}  // namespace dbos
