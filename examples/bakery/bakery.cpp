#include <chrono>
#include <dbos/dbos.hpp>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>

using namespace std::chrono_literals;

inline constexpr auto Bake = dbos::workflow<std::string(int)>("bake");

int bake_one(int n) {
    std::ofstream("shelf.txt", std::ios::app) << "loaf " << n << '\n';
    std::cout << "loaf " << n << " is on the shelf, too hot to weigh" << std::endl;
    std::this_thread::sleep_for(3s);
    std::cout << "loaf " << n << " is weighed" << std::endl;
    return 500 + n;
}

std::string bake(dbos::Context& ctx, int loaves) {
    int grams = 0;
    for (int n = 1; n <= loaves; ++n) grams += ctx.step("bake_one", [&] { return bake_one(n); });
    return std::to_string(grams) + " g of bread";
}

int main() {
    dbos::App app({.name = "bakery"});
    app.implement(Bake, bake);
    app.launch();
    auto handle = app.start_workflow(Bake, {.workflow_id = "monday"}, 3);
    std::cout << handle.get_result() << std::endl;
}
