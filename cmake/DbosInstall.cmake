# make install / find_package(dbos) / pkg-config dbos.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS dbos EXPORT dbosTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILE_SET ext DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(dbos_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/dbos)
install(EXPORT dbosTargets NAMESPACE dbos:: DESTINATION ${dbos_package_dir})
configure_package_config_file(cmake/dbosConfig.cmake.in ${PROJECT_BINARY_DIR}/dbosConfig.cmake
  INSTALL_DESTINATION ${dbos_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/dbosConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/dbosConfig.cmake ${PROJECT_BINARY_DIR}/dbosConfigVersion.cmake
  DESTINATION ${dbos_package_dir})

# The static library leaves its databases to whoever links it, so they are not private there.
set(dbos_pc_requires "Requires")
if(BUILD_SHARED_LIBS)
  set(dbos_pc_requires "Requires.private")
endif()
set(dbos_pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
set(dbos_pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(dbos_pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
endif()
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(dbos_pc_libdir "${CMAKE_INSTALL_LIBDIR}")
endif()
configure_file(cmake/dbos.pc.in ${PROJECT_BINARY_DIR}/dbos.pc.in @ONLY)
# The prefix of `cmake --install --prefix` is known at install time only.
install(CODE "
  file(READ \"${PROJECT_BINARY_DIR}/dbos.pc.in\" text)
  string(REPLACE \"%PREFIX%\" \"\${CMAKE_INSTALL_PREFIX}\" text \"\${text}\")
  file(WRITE \"${PROJECT_BINARY_DIR}/dbos.pc\" \"\${text}\")")
install(FILES ${PROJECT_BINARY_DIR}/dbos.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
