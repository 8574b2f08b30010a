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

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace dbos::sim {

namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif
constexpr std::size_t kStackSize = std::size_t{kAddressSanitizer ? 4096 : 512} * 1024;
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
#ifdef __SANITIZE_ADDRESS__
        __asan_unpoison_memory_region(stack, kStackSize);  // who had it has left his frames there
#endif
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

void futex(int& word, int operation, int value) noexcept {
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
    bottom_ = stack_;
    size_ = kStackSize;
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
    stack_pointer_ = static_cast<void*>(top);
}

Place::~Place() {
    if (thread_.joinable()) thread_.detach();  // frozen: it waits for a baton that never comes
}

void Place::fiber_main(Place* self) noexcept {
    self->arrives();
    self->body_();
    std::abort();
}

// The thread sanitizer must not see the baton: it would order everything. (Without sight of plain accesses only, as elsewhere,
// it would still see atomics.)
#ifdef DBOS_UNDER_TSAN
#define DBOS_SIM_BATON __attribute__((disable_sanitizer_instrumentation))
#else
#define DBOS_SIM_BATON
#endif
DBOS_SIM_BATON void Place::await_baton() noexcept {
    while (__atomic_exchange_n(&baton_, 0, __ATOMIC_SEQ_CST) == 0) futex(baton_, FUTEX_WAIT_PRIVATE, 0);
}

DBOS_SIM_BATON void Place::pass_baton() noexcept {
    __atomic_store_n(&baton_, 1, __ATOMIC_SEQ_CST);
    futex(baton_, FUTEX_WAKE_PRIVATE, 1);
}

#ifdef __SANITIZE_ADDRESS__
namespace {
Place* left_from = nullptr;
}
void Place::leaves(const Place& to, bool for_good) noexcept {
    left_from = this;
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack_, to.bottom_, to.size_);
}
void Place::arrives() noexcept {
    __sanitizer_finish_switch_fiber(fake_stack_, &left_from->bottom_, &left_from->size_);
}
#else
void Place::leaves(const Place&, bool) noexcept {}
void Place::arrives() noexcept {}
#endif

void Place::switch_to(Place& to) noexcept {
    if (kind_ == Tasks::threads) {
        to.pass_baton();
        await_baton();
        return;
    }
    swap_fibers(to, false);
}

void Place::swap_fibers(Place& to, bool for_good) noexcept {
    auto* runtime = abi::__cxa_get_globals();
    std::memcpy(static_cast<void*>(&exceptions_), runtime, sizeof exceptions_);
    std::memcpy(static_cast<void*>(runtime), &to.exceptions_, sizeof exceptions_);
    leaves(to, for_good);
    dbos_sim_switch(&stack_pointer_, to.stack_pointer_);
    arrives();
}

void Place::leave_to(Place& to) noexcept {
    if (kind_ == Tasks::threads) {
        to.pass_baton();
        return;
    }
    swap_fibers(to, true);
}

void Place::finished() noexcept {
    if (thread_.joinable()) thread_.join();
    if (stack_) free_stacks().push_back(std::exchange(stack_, nullptr));
}

}  // namespace dbos::sim
