#include <chrono>
#include <dbos/dbos.hpp>
#include <iostream>
#include <string>

using namespace std::chrono_literals;

inline constexpr auto Hello = dbos::workflow<std::string(std::string)>("hello");

std::string hello(dbos::Context& ctx, const std::string& name) {
    auto greeting = ctx.step("greet", [&] { return "Hello, " + name; });
    std::cout << greeting << " - kill me within ten seconds, and start me again\n";
    ctx.sleep(10s);
    return ctx.step("sign", [&] { return greeting + "!"; });
}

int main() {
    dbos::App app({.name = "hello", .system_database_url = "sqlite:///hello.sqlite"});
    app.implement(Hello, hello);
    app.launch();
    auto handle = app.start_workflow(Hello, {.workflow_id = "hello-1"}, "world");
    std::cout << handle.get_result() << '\n';
}
