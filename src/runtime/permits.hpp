// Run permits: how many bodies may run at once. A permit is given back during every durable wait, so that a bounded pool
// cannot deadlock a parent and its child.
#pragma once

#include <cstddef>

#include "platform/seam.hpp"

namespace dbos::runtime {

class Permits {
   public:
    /// 0 = unlimited: only counted.
    explicit Permits(std::size_t limit) : limit_(limit) {}

    void acquire() {
        std::unique_lock lock(mutex_);
        ++waiting_;
        freed_.wait(lock, [&] { return limit_ == 0 || used_ < limit_; });
        --waiting_;
        ++used_;
    }
    void release() {
        std::lock_guard lock(mutex_);
        --used_;
        if (waiting_ > 0) freed_.notify_one();
    }
    /// Bodies that run or wait for a permit.
    std::size_t demand() const {
        std::lock_guard lock(mutex_);
        return used_ + waiting_;
    }
    std::size_t limit() const noexcept { return limit_; }

   private:
    const std::size_t limit_;
    mutable seam::Mutex mutex_;
    seam::CondVar freed_;
    std::size_t used_ = 0;
    std::size_t waiting_ = 0;
};

}  // namespace dbos::runtime
