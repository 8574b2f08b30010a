#include "tasks.hpp"

#include <cxxabi.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace dbos::sim {

namespace {

constexpr std::size_t kStackSize = std::size_t{512} * 1024;
constexpr std::size_t kGuardSize = 4096;

std::vector<char*>& free_stacks() {
    static std::vector<char*> stacks;
    return stacks;
}

char* take_stack() {
    auto& stacks = free_stacks();
    if (!stacks.empty()) {
        char* stack = stacks.back();
        stacks.pop_back();
        return stack;
    }
    void* memory = ::mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        std::perror("sim: mmap of a stack");
        std::abort();
    }
    ::mprotect(memory, kGuardSize, PROT_NONE);
    return static_cast<char*>(memory);
}

void futex(std::atomic<int>& word, int operation, int value) noexcept {
    ::syscall(SYS_futex, &word, operation, value, nullptr, nullptr, 0);
}

}  // namespace

#if !defined(__x86_64__)
#error "the fibers of the simulator are written for x86-64"
#endif
// Saves what a call must keep, and goes on where `load` was saved.
extern "C" void dbos_sim_switch(void** save, void* load);
asm(R"(.text
.globl dbos_sim_switch
.type dbos_sim_switch,@function
dbos_sim_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp,(%rdi)
    mov %rsi,%rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
.size dbos_sim_switch,.-dbos_sim_switch
.globl dbos_sim_entry
.type dbos_sim_entry,@function
dbos_sim_entry:
    mov %r12,%rdi
    call *%r13
    ud2
.size dbos_sim_entry,.-dbos_sim_entry
)");
extern "C" void dbos_sim_entry();

Place::Place(Tasks kind, std::function<void()> body) : kind_(kind), body_(std::move(body)) {
    if (kind_ == Tasks::threads) {
        thread_ = std::thread([this] {
            await_baton();
            body_();
        });
        return;
    }
    stack_ = take_stack();
    // The frame that dbos_sim_switch pops: r15 r14 r13 r12 rbx rbp, then the address to return to.
    auto** top = reinterpret_cast<void**>(stack_ + kStackSize - 64);
    *--top = nullptr;  // keeps the stack aligned to 16 at the call
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(&dbos_sim_entry);
    *--top = nullptr;
    *--top = nullptr;
    *--top = this;
    *--top = reinterpret_cast<void*>(&Place::fiber_main);
    *--top = nullptr;
    *--top = nullptr;
    stack_pointer_ = top;
}

Place::~Place() {
    if (thread_.joinable()) thread_.detach();  // frozen: it waits for a baton that never comes
}

void Place::fiber_main(Place* self) noexcept {
    self->body_();
    std::abort();
}

void Place::await_baton() noexcept {
    while (baton_.exchange(0) == 0) futex(baton_, FUTEX_WAIT_PRIVATE, 0);
}

void Place::pass_baton() noexcept {
    baton_.store(1);
    futex(baton_, FUTEX_WAKE_PRIVATE, 1);
}

void Place::switch_to(Place& to) noexcept {
    if (kind_ == Tasks::threads) {
        to.pass_baton();
        await_baton();
        return;
    }
    auto* runtime = abi::__cxa_get_globals();
    std::memcpy(static_cast<void*>(&exceptions_), runtime, sizeof exceptions_);
    std::memcpy(static_cast<void*>(runtime), &to.exceptions_, sizeof exceptions_);
    dbos_sim_switch(&stack_pointer_, to.stack_pointer_);
}

void Place::leave_to(Place& to) noexcept {
    if (kind_ == Tasks::threads) {
        to.pass_baton();
        return;
    }
    switch_to(to);
}

void Place::finished() noexcept {
    if (thread_.joinable()) thread_.join();
    if (stack_) free_stacks().push_back(std::exchange(stack_, nullptr));
}

}  // namespace dbos::sim
