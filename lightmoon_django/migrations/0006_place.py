"""Which node has an actor that lives in memory only, or all of them."""

from django.db import migrations, models

import lightmoon_django.fields


class Migration(migrations.Migration):
    dependencies = [
        ("lightmoon", "0005_node_load"),
    ]

    operations = [
        migrations.AddField(
            model_name="node",
            name="alone",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.CreateModel(
            name="Place",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("lightmoon_owner", lightmoon_django.fields.OwnerField()),
            ],
            options={
                "db_table": "lightmoon_place",
            },
        ),
    ]
