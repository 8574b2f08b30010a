// fork() while an App and a Client live (safety 29): in the child every call throws, destructors only forget, and the parent does
// not notice.
#include <sys/wait.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <thread>

#include "chaos/worker.hpp"

using namespace std::chrono_literals;
using dbos::test::eventually;
using dbos::test::Job;

namespace {

class Forks : public dbos::test::ChaosTest {
   public:
    /// Runs `work` in a forked child; its result, or minus the signal. -100: it hangs.
    template <class F>
    static int in_child(F work) {
        const pid_t pid = fork();
        if (pid == 0) {
            int result = 99;
            try {
                result = work();
            } catch (const std::exception& error) {
                std::fprintf(stderr, "in the child: %s\n", error.what());
            }
            _exit(result);
        }
        int status = 0;
        for (int i = 0; i < 4000; ++i) {
            if (waitpid(pid, &status, WNOHANG) == pid)
                return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
            std::this_thread::sleep_for(5ms);
        }
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        return -100;
    }
    /// 0 if `call` is refused with a sentence about fork(), else `number`.
    template <class F>
    static int refused(int number, F call) {
        try {
            call();
        } catch (const dbos::UsageError& error) {
            const std::string text = error.what();
            if (text.find("fork") != std::string::npos) return 0;
            std::fprintf(stderr, "call %d: %s\n", number, error.what());
            return number;
        } catch (const std::exception& error) {
            std::fprintf(stderr, "call %d: %s\n", number, error.what());
            return number;
        }
        std::fprintf(stderr, "call %d was not refused\n", number);
        return number;
    }
    dbos::AppOptions options() {
        dbos::AppOptions options = app_options("chaos");
        options.executor_id = "parent";
        return options;
    }
};
DBOS_FOR_EVERY_DATABASE(Forks);

TEST_P(Forks, an_app_and_its_client_throw_in_the_child_and_serve_on_in_the_parent) {
    auto app = std::make_unique<dbos::App>(options());
    std::atomic<bool> stop{false};
    app->implement(Job, [](dbos::Context& ctx, int n, int) {
        int sum = 0;
        for (int i = 0; i < n; ++i) sum += ctx.step("s", [] { return 1; });
        return sum;
    });
    app->register_queue({.name = "q"});
    app->launch();
    auto client = std::make_unique<dbos::Client>(client_options());
    auto handle = client->enqueue(Job, {.queue_name = "q", .workflow_id = "before"}, 2, 0);
    EXPECT_EQ(handle.get_result({.timeout = 20s}), 2);
    auto pending = client->retrieve_workflow("before").get_result_async();
    // Locks are held and taken while it forks: nothing in the child may depend on one.
    std::thread busy([&] {
        for (int i = 0; !stop; ++i) {
            auto one = i % 2 == 0 ? client->enqueue(Job, {.queue_name = "q"}, 1, 0)
                                  : app->start_workflow(Job, {}, 1, 0);
            one.get_result({.timeout = 60s});
        }
    });
    for (int round = 0; round < 20; ++round) {
        EXPECT_EQ(in_child([&] {
                      int wrong = 0;
                      const auto check = [&](int number, auto call) {
                          if (wrong == 0) wrong = refused(number, call);
                      };
                      check(1, [&] { app->start_workflow(Job, {}, 1, 0); });
                      check(2, [&] { app->start_workflow(Job, {.queue_name = "q"}, 1, 0); });
                      check(3, [&] { app->start_workflow_async(Job, {}, 1, 0).get(); });
                      check(4, [&] { app->client(); });
                      check(5, [&] { app->shutdown(); });
                      check(6, [&] { app->register_queue({.name = "later"}); });
                      check(7, [&] { app->wait(); });
                      check(8, [&] { app->retrieve_workflow("before"); });
                      check(11, [&] { client->enqueue(Job, {.queue_name = "q"}, 1, 0); });
                      check(12, [&] { client->enqueue_async(Job, {.queue_name = "q"}, 1, 0).get(); });
                      check(13, [&] { client->list_workflows(); });
                      check(14, [&] { client->list_workflows_async().get(); });
                      check(15, [&] { client->cancel_workflow("before"); });
                      check(16, [&] { client->check_connection(); });
                      check(17, [&] { client->retrieve_workflow("before"); });
                      check(18, [&] { client->retrieve_workflow_async("before").get(); });
                      check(21, [&] { handle.get_result(); });
                      check(22, [&] { handle.get_status(); });
                      check(23, [&] { handle.get_result_async().get(); });
                      check(24, [&] { handle.get_status_async().get(); });
                      // What exit() would run for statics.
                      pending = dbos::Future<dbos::Value>();
                      client->destroy();
                      client.reset();
                      app.reset();
                      return wrong;
                  }),
                  0);
    }
    stop = true;
    busy.join();
    EXPECT_EQ(pending.get().as_int(), 2);
    EXPECT_EQ(client->enqueue(Job, {.queue_name = "q"}, 3, 0).get_result({.timeout = 20s}), 3);
    EXPECT_EQ(scalar("SELECT count(*) FROM @dbos_cpp_executors"), "1");
    EXPECT_EQ(log.count("another process holds"), 0);
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE status <> 'SUCCESS'"), "0");
    EXPECT_EQ(scalar("SELECT count(*) FROM @workflow_status WHERE recovery_attempts <> 1"), "0");
    EXPECT_TRUE(app->shutdown().empty());
}

TEST_P(Forks, a_step_whose_exec_fails_and_whose_child_exits_harms_nothing) {
    dbos::App app(options());
    app.implement(Job, [](dbos::Context& ctx, int n, int) {
        return ctx.step("spawn", [&] {
            const pid_t pid = fork();
            if (pid == 0) {
                execl("/no/such/program", "program", static_cast<char*>(nullptr));
                std::exit(n);  // with the destructors of statics and this thread's marks
            }
            int status = 0;
            waitpid(pid, &status, 0);
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        });
    });
    app.launch();
    for (int n = 0; n < 5; ++n) EXPECT_EQ(app.start_workflow(Job, {}, n, 0).get_result({.timeout = 30s}), n);
    // The lease is the parent's still, and goes on.
    const auto counter = scalar("SELECT counter FROM @dbos_cpp_executors");
    EXPECT_TRUE(eventually([&] { return scalar("SELECT counter FROM @dbos_cpp_executors") != counter; }));
    EXPECT_EQ(log.count("could not be renewed"), 0);
}

TEST_P(Forks, a_child_may_have_an_app_of_its_own) {
    if (!postgres())
        GTEST_SKIP() << "SQLite takes the locks of the parent's connections to a file for its own";
    dbos::App app(options());
    app.implement(Job, [](dbos::Context& ctx, int n, int) { return ctx.step("s", [n] { return n; }); });
    app.launch();
    EXPECT_EQ(app.start_workflow(Job, {}, 1, 0).get_result({.timeout = 20s}), 1);
    EXPECT_EQ(in_child([&] {
                  dbos::AppOptions own = options();
                  own.executor_id = "child";
                  dbos::App second(own);
                  second.implement(
                      Job, [](dbos::Context& ctx, int n, int) { return ctx.step("s", [n] { return n; }); });
                  second.launch();
                  return second.start_workflow(Job, {.workflow_id = "of-the-child"}, 7, 0)
                      .get_result({.timeout = 20s});
              }),
              7);
    EXPECT_EQ(scalar("SELECT executor_id FROM @workflow_status WHERE workflow_uuid = 'of-the-child'"),
              "child");
    EXPECT_EQ(app.start_workflow(Job, {}, 2, 0).get_result({.timeout = 20s}), 2);
}

TEST_P(Forks, descriptors_do_not_leak_into_programs_that_are_run) {
    dbos::App app(options());
    app.implement(Job, [](dbos::Context& ctx, int n, int) { return ctx.step("s", [n] { return n; }); });
    app.launch();
    dbos::Client client(client_options());
    EXPECT_EQ(app.start_workflow(Job, {}, 1, 0).get_result({.timeout = 20s}), 1);
    const std::string out = side_path() + ".descriptors";
    const std::string command = "ls -l /proc/self/fd > " + out;
    ASSERT_EQ(std::system(command.c_str()), 0);
    std::ifstream in(out);
    const std::string text(std::istreambuf_iterator<char>(in), {});
    EXPECT_EQ(text.find("test.sqlite"), std::string::npos) << text;
    EXPECT_EQ(text.find("socket:"), std::string::npos) << text;
    EXPECT_EQ(text.find("eventfd"), std::string::npos) << text;
    EXPECT_EQ(text.find("inotify"), std::string::npos) << text;
}

}  // namespace
