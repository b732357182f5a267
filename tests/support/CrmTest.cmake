# CrmTest - how integration tests enter ctest.
#
#   include(CrmTest)
#   cs_python_test(NAME kafka.smoke_mtls SCRIPT smoke.py [ARGS --a b] [KAFKA] [SERIAL]
#                  [LABELS integration] [TIMEOUT 120] [PROGRAMS graphsim devbroker ...])
#
# The script runs under /usr/bin/python3 (Debian's, which has confluent_kafka and jsonschema) with
#   CRMSYNC_BIN             the folder of the programs of this build
#   CRMSYNC_TEST_KAFKA_ENV  env.json of the broker that all tests of a run share (with KAFKA)
#   CRMSYNC_BUILD           preset-independent name of the build folder, for what a test leaves to look at
# KAFKA makes the test require the fixture "kafka": ctest starts one broker before the first such
# test and stops it after the last, also when only one test is selected.
# SERIAL: nothing else runs beside it (measurements). PROGRAMS: targets that must exist here, or the
# test is not added (a build without them does not list what it cannot run).
set(CS_PYTHON /usr/bin/python3)

function(cs_python_test)
  cmake_parse_arguments(T "KAFKA;SERIAL" "NAME;SCRIPT;TIMEOUT" "ARGS;LABELS;PROGRAMS" ${ARGN})
  if(T_UNPARSED_ARGUMENTS OR NOT T_NAME OR NOT T_SCRIPT)
    message(FATAL_ERROR "cs_python_test: NAME and SCRIPT are needed; unknown: ${T_UNPARSED_ARGUMENTS}")
  endif()
  foreach(program ${T_PROGRAMS})
    if(NOT TARGET ${program})
      return()
    endif()
  endforeach()
  if(NOT T_LABELS)
    set(T_LABELS integration)
  endif()
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 300)
  endif()
  get_filename_component(script ${T_SCRIPT} ABSOLUTE)
  add_test(NAME ${T_NAME} COMMAND ${CS_PYTHON} -B ${script} ${T_ARGS})
  set(env "CRMSYNC_BIN=${CMAKE_BINARY_DIR}/bin" "CRMSYNC_BUILD=${CMAKE_BINARY_DIR}"
    "PYTHONPATH=${CMAKE_SOURCE_DIR}/tests/support" "PYTHONDONTWRITEBYTECODE=1")
  if(T_KAFKA)
    list(APPEND env "CRMSYNC_TEST_KAFKA_ENV=${CMAKE_BINARY_DIR}/kafka/env.json")
    set_tests_properties(${T_NAME} PROPERTIES FIXTURES_REQUIRED kafka)
  endif()
  set_tests_properties(${T_NAME} PROPERTIES LABELS "${T_LABELS}" TIMEOUT ${T_TIMEOUT}
    ENVIRONMENT "${env}" RUN_SERIAL $<BOOL:${T_SERIAL}>)
  if(T_KAFKA) # those that wait longest begin first
    set_tests_properties(${T_NAME} PROPERTIES COST 50)
  endif()
endfunction()
