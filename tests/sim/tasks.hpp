// How a task gets the processor: a fiber, or an OS thread that holds the baton. Same choices, same trace.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "sim.hpp"

namespace dbos::sim {

/// The place where one task runs.
class Place {
   public:
    /// The place of the calling thread itself (task 0).
    explicit Place(Tasks kind) noexcept : kind_(kind) {}
    /// A new place; `body` runs there when it is first switched to, and must not return.
    Place(Tasks kind, std::function<void()> body);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    /// Goes on at `to`; returns when somebody switches back here.
    void switch_to(Place& to) noexcept;
    /// The same from a task that has ended.
    void leave_to(Place& to) noexcept;
    /// After leave_to: gives back what the place had.
    void finished() noexcept;

   private:
    static void fiber_main(Place* self) noexcept;
    void swap_fibers(Place& to, bool for_good) noexcept;
    void leaves(const Place& to, bool for_good) noexcept;
    void arrives() noexcept;
    void await_baton() noexcept;
    void pass_baton() noexcept;

    const Tasks kind_;
    std::function<void()> body_;
    // fibers
    void* stack_pointer_ = nullptr;
    char* stack_ = nullptr;
    // What the address sanitizer wants to know: the stack, and its own of this fiber.
    const void* bottom_ = nullptr;
    std::size_t size_ = 0;
    [[maybe_unused]] void* fake_stack_ = nullptr;
    struct {
        void* caught;
        unsigned int uncaught;
    } exceptions_{nullptr, 0};  // the C++ runtime's, of the thread: they travel with the fiber
    // threads
    int baton_ = 0;  // atomic
    std::thread thread_;
};

}  // namespace dbos::sim
