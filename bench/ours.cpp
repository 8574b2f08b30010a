#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <dbos/dbos.hpp>

#include "bench.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

inline constexpr auto Sequential = dbos::workflow<int(double)>("sequential");
inline constexpr auto OneStep = dbos::workflow<int(int)>("one_step");
inline constexpr auto TenSteps = dbos::workflow<int(int)>("ten_steps");

dbos::AppOptions app_options(const std::string& url) {
    dbos::AppOptions options;
    options.name = "bench";
    options.system_database_url = url;
    options.log_sink = dbos::stderr_log_sink(dbos::LogLevel::error);
    return options;
}

void implement(dbos::App& app) {
    app.implement(Sequential, [](dbos::Context& ctx, double seconds) {
        // Reading a clock in a body is wrong for a workflow that may be replayed; this one never is.
        const auto end = Clock::now() + std::chrono::duration<double>(seconds);
        int steps = 0;
        while (Clock::now() < end) steps += ctx.step("step", [] { return 1; });
        return steps;
    });
    app.implement(OneStep, [](dbos::Context& ctx, int n) { return ctx.step("step", [&] { return n + 1; }); });
    app.implement(TenSteps, [](dbos::Context& ctx, int n) {
        for (int i = 0; i < 10; ++i) n += ctx.step("step", [&] { return i; });
        return n;
    });
    app.register_queue({.name = "bench"});
}

/// Keeps `in_flight` workflows going until the time has passed; how many ended a second.
template <class Contract>
double flood(dbos::App& app, const Contract& contract, int in_flight, double seconds) {
    struct State {
        std::mutex mutex;
        std::condition_variable changed;
        int free = 0;
        std::size_t ended = 0;
        std::size_t failed = 0;
    };
    const auto state = std::make_shared<State>();
    state->free = in_flight;
    const auto begin = Clock::now();
    const auto end = begin + std::chrono::duration<double>(seconds);
    const auto done = [state](bool failed) {
        std::lock_guard lock(state->mutex);
        ++state->free;
        ++(failed ? state->failed : state->ended);
        state->changed.notify_one();
    };
    for (int n = 0; Clock::now() < end; ++n) {
        {
            std::unique_lock lock(state->mutex);
            state->changed.wait(lock, [&] { return state->free > 0; });
            --state->free;
        }
        app.start_workflow_async(contract, {}, n)
            .then([](dbos::WorkflowHandle<int> handle) { return handle.get_result_async(); })
            .then([done](int) { done(false); }, [done](std::exception_ptr) { done(true); });
    }
    std::unique_lock lock(state->mutex);
    state->changed.wait(lock, [&] { return state->free == in_flight; });
    if (state->failed > 0)
        throw std::runtime_error(std::to_string(state->failed) + " workflows of the benchmark failed");
    return static_cast<double>(state->ended) / std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

double sequential_steps(const std::string& url, double seconds) {
    dbos::App app(app_options(url));
    implement(app);
    app.launch();
    return app.start_workflow(Sequential, {}, seconds).get_result() / seconds;
}

double one_step_workflows(const std::string& url, int in_flight, double seconds) {
    dbos::App app(app_options(url));
    implement(app);
    app.launch();
    flood(app, OneStep, in_flight, 0.3);
    return flood(app, OneStep, in_flight, seconds);
}

double many_steps(const std::string& url, int in_flight, double seconds) {
    dbos::App app(app_options(url));
    implement(app);
    app.launch();
    return 10 * flood(app, TenSteps, in_flight, seconds);
}

Latency enqueue_to_result(const std::string& url, int samples) {
    dbos::App app(app_options(url));
    implement(app);
    app.launch();
    dbos::ClientOptions options;
    options.system_database_url = url;
    options.application_name = "bench";
    dbos::Client client(options);
    std::vector<double> ms;
    for (int i = 0; i < samples + 10; ++i) {
        const auto begin = Clock::now();
        client.enqueue(OneStep, {.queue_name = "bench"}, i).get_result();
        if (i >= 10) ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
        std::this_thread::sleep_for(5ms);
    }
    std::sort(ms.begin(), ms.end());
    return {ms[ms.size() / 2], ms[ms.size() * 99 / 100]};
}

struct Busy::App {
    explicit App(const std::string& url) : app(app_options(url)) {
        implement(app);
        app.launch();
    }
    dbos::App app;
};

Busy::Busy(const std::string& url) : app_(std::make_unique<App>(url)) {}
Busy::~Busy() = default;
double Busy::flood(int seconds) const { return bench::flood(app_->app, OneStep, 64, seconds); }

}  // namespace bench
