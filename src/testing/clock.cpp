#include <algorithm>
#include <chrono>
#include <mutex>
#include <utility>

#include "client/marks.hpp"
#include "core/durations.hpp"
#include "testing/test_app.hpp"

namespace dbos::testing {

using std::chrono::milliseconds;

namespace {

constexpr auto kLongestUnrest = std::chrono::seconds(30);
constexpr auto kLook = milliseconds(2);
// What hands something from one thread to another is seen in one of several looks.
constexpr int kLooks = 3;

std::chrono::system_clock::time_point instant_of(sysdb::Millis instant) {
    return std::chrono::system_clock::time_point(milliseconds(instant));
}

sysdb::Millis millis_of(std::chrono::system_clock::time_point instant) {
    return std::chrono::ceil<milliseconds>(instant).time_since_epoch().count();
}

}  // namespace

TestClock::Impl::Impl(TestApp::Impl& owner) : app(owner) {
    if (app.options.auto_advance) thread_ = seam::spawn("dbos-test-clock", [this] { run(); });
}

TestClock::Impl::~Impl() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
        changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
}

bool TestClock::Impl::at_rest(std::optional<sysdb::Millis>& next, std::size_t& outside) {
    next.reset();
    if (!app.alive) return true;
    auto& executor = app.present->impl().executor;
    return executor.hub().at_rest(outside) && executor.at_rest(next) && (!next || *next > now());
}

std::optional<sysdb::Millis> TestClock::Impl::rest() {
    const auto give_up = seam::steady_now() + kLongestUnrest;
    for (int looks = 0; seam::steady_now() < give_up; seam::sleep_for(kLook)) {
        std::lock_guard lock(app.life_mutex);
        std::optional<sysdb::Millis> next;
        std::size_t outside = 0;
        looks = at_rest(next, outside) ? looks + 1 : 0;
        if (looks < kLooks) continue;
        if (!app.alive) return std::nullopt;
        runtime::earliest(next, app.present->impl().executor.database().next_due(now()));
        return next;
    }
    throw Timeout(
        "the clock of a TestApp was to be moved, and the workflows did not come to rest within 30 s: does a "
        "step block?");
}

void TestClock::Impl::set(sysdb::Millis instant) {
    if (instant > now()) app.now->store(instant);
    std::lock_guard lock(app.life_mutex);
    if (app.alive) app.present->impl().executor.time_has_passed();
}

void TestClock::Impl::advance_to(sysdb::Millis instant) {
    if (client::thread_marks().body_database != nullptr)
        throw UsageError("the clock of a TestApp was moved in a body, which it would wait for");
    std::lock_guard moving(moving_);
    while (now() < instant) {
        const auto next = rest();
        set(next ? std::min(*next, instant) : instant);
    }
    rest();
}

void TestClock::Impl::run() {
    int looks = 0;
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            if (changed_.wait_for(lock, kLook, [&] { return stopping_; })) return;
        }
        const std::unique_lock moving(moving_, std::try_to_lock);
        if (!moving.owns_lock()) continue;
        std::optional<sysdb::Millis> next;
        try {
            {
                std::lock_guard lock(app.life_mutex);
                std::size_t outside = 0;
                looks = app.alive && at_rest(next, outside) && outside > 0 ? looks + 1 : 0;
                if (looks < kLooks) continue;
                looks = 0;
                runtime::earliest(next, app.present->impl().executor.database().next_due(now()));
            }
            if (next) set(*next);
        } catch (const std::exception&) {  // the life dies just now
        }
    }
}

TestClock::TestClock(Impl* impl) noexcept : impl_(impl) {}

TestClock::~TestClock() = default;

std::chrono::system_clock::time_point TestClock::now() const { return instant_of(impl_->now()); }

void TestClock::advance(Duration duration) {
    if (!(duration.count() >= 0)) {
        throw UsageError("advance of a TestClock: expected a duration that is not negative, got " +
                         std::to_string(duration.count()) + " s");
    }
    impl_->advance_to(impl_->now() + core::to_millis(duration));
}

void TestClock::advance_to(std::chrono::system_clock::time_point instant) {
    impl_->advance_to(millis_of(instant));
}

}  // namespace dbos::testing
