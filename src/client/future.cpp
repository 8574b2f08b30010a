#include "dbos/future.hpp"

#include "client/marks.hpp"
#include "core/durations.hpp"
#include "platform/seam.hpp"

namespace dbos::detail {

CallbackQueue::~CallbackQueue() = default;

struct FutureCore::Impl {
    mutable seam::Mutex mutex;
    seam::CondVar changed;
    bool ready = false;
    bool gone = false;  // the consumer left
    OnceFunction<void()> continuation;
    OnceFunction<void()> abandoned;
};

FutureCore::FutureCore(std::shared_ptr<CallbackQueue> queue) : queue_(std::move(queue)), impl_(new Impl) {}
FutureCore::~FutureCore() = default;

bool FutureCore::ready() const noexcept {
    const std::lock_guard<seam::Mutex> lock(impl_->mutex);
    return impl_->ready;
}

void FutureCore::wait(const char* operation) {
    if (ready()) return;
    if (queue_) queue_->check_may_block(operation);
    const client::BlockingWait waiting;
    std::unique_lock<seam::Mutex> lock(impl_->mutex);
    impl_->changed.wait(lock, [this] { return impl_->ready; });
}

bool FutureCore::wait_for(Duration timeout, const char* operation) {
    if (ready()) return true;
    if (queue_) queue_->check_may_block(operation);
    const seam::SteadyTime end = seam::steady_now() + core::to_nanos(timeout);
    const client::BlockingWait waiting;
    std::unique_lock<seam::Mutex> lock(impl_->mutex);
    return impl_->changed.wait_until(lock, end, [this] { return impl_->ready; });
}

void FutureCore::on_ready(OnceFunction<void()> task) {
    {
        const std::lock_guard<seam::Mutex> lock(impl_->mutex);
        if (!impl_->ready) {
            impl_->continuation = std::move(task);
            return;
        }
    }
    queue_->post(std::move(task));
}

void FutureCore::on_abandon(OnceFunction<void()> task) {
    {
        const std::lock_guard<seam::Mutex> lock(impl_->mutex);
        if (impl_->ready) return;
        if (!impl_->gone) {
            impl_->abandoned = std::move(task);
            return;
        }
    }
    task();
}

void FutureCore::abandon() noexcept {
    OnceFunction<void()> task;
    {
        const std::lock_guard<seam::Mutex> lock(impl_->mutex);
        impl_->gone = true;
        if (!impl_->ready && !impl_->continuation) task = std::move(impl_->abandoned);
    }
    try {
        if (task) task();
    } catch (...) {
        // A withdrawal that fails leaves a wait that ends by itself.
    }
}

void FutureCore::set_ready() noexcept {
    OnceFunction<void()> continuation;
    OnceFunction<void()>
        abandoned;  // destroyed outside of the lock: it may hold the last reference to a wait
    {
        const std::lock_guard<seam::Mutex> lock(impl_->mutex);
        impl_->ready = true;
        continuation = std::move(impl_->continuation);
        abandoned = std::move(impl_->abandoned);
        impl_->changed.notify_all();
    }
    if (continuation && queue_) queue_->post(std::move(continuation));
}

}  // namespace dbos::detail
