#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Puts the .pth file of the automatic registration into what is installed.

All else is in setup.cfg. setuptools has no option for a file in the root of
site-packages, so the two commands that fill it are extended here: build_py
for wheels, editable_wheel for editable installs (PEP 660).
"""

import base64
import hashlib
import os
import pathlib
import zipfile

import setuptools
from setuptools.command import build_py
from setuptools.command import editable_wheel

# The names sort behind setuptools' own __editable__*.pth, which an editable
# install needs to find the package. One line, as site.py wants it; silent if
# the package is gone, since it would otherwise speak in every process.
PTH_NAME = 'vmthunder.pth'
PTH = ('import sys; exec("try:\\n'
       ' from os_brick_vmthunder import registration\\n'
       'except ImportError:\\n pass\\n'
       'else:\\n registration.install()")\n')


class BuildPy(build_py.build_py):
    """Adds the .pth file to the tree that a wheel is made of."""

    def run(self):
        super().run()
        if not getattr(self, 'editable_mode', False):
            pathlib.Path(self.build_lib, PTH_NAME).write_text(PTH)

    def get_outputs(self, include_bytecode=1):
        return (super().get_outputs(include_bytecode) +
                [os.path.join(self.build_lib, PTH_NAME)])


class EditableWheel(editable_wheel.editable_wheel):
    """Adds the .pth file to the wheel of an editable install."""

    def run(self):
        super().run()
        wheel = max(pathlib.Path(self.dist_dir).glob('*.whl'),
                    key=lambda path: path.stat().st_mtime_ns)
        add_to_wheel(wheel, PTH_NAME, PTH.encode())


def add_to_wheel(wheel, name, content):
    """Add a file to a wheel, and to the RECORD by which it is uninstalled."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    line = f'{name},sha256={digest.decode().rstrip("=")},{len(content)}\n'
    changed = wheel.with_suffix('.new')
    with zipfile.ZipFile(wheel) as old, \
            zipfile.ZipFile(changed, 'w', zipfile.ZIP_DEFLATED) as new:
        new.writestr(name, content)
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith('.dist-info/RECORD'):
                data = line.encode() + data
            new.writestr(entry, data)
    changed.replace(wheel)


setuptools.setup(cmdclass={'build_py': BuildPy,
                           'editable_wheel': EditableWheel})
